//! Sign-in by link, as the gateway alone sees it: whoever holds the link claims it once, and only who holds the
//! response code of the last approval finishes.

use futures_util::future::join_all;
use miid_e2e::service::RETURN_URL;
use miid_e2e::{Answer, Login, Service, Wallet, World, on_both, on_postgres, service, wallet};
use miid_protocol::service::{Binding, Challenge, ChallengeStatus, DenyReason, TokenResponse};
use miid_protocol::wallet::WalletChallenge;
use miid_protocol::{ErrorCode, paths};
use serde_json::json;

on_both!(
    a_link_is_claimed_approved_and_exchanged,
    a_return_url_is_registered_byte_for_byte,
    a_service_for_links_only_names_nobody,
    the_same_request_again_shows_the_same_link,
    an_exchange_needs_the_response_code_of_this_approval,
    an_addressed_sign_in_has_no_response_code,
    a_number_is_not_asked_for_and_not_taken,
    a_second_approval_kills_what_the_first_gave,
    an_approval_in_another_browser_ends_it,
    only_a_live_approval_has_a_right_response_code,
    the_return_address_is_shown_as_long_as_it_leads_anywhere,
    the_gateway_is_killed_between_the_steps_of_a_link,
);
on_postgres!(a_link_crosses_between_two_gateways,);

async fn a_link_is_claimed_approved_and_exchanged(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut devices = [alice.events(&gateway, None).await, alice.events(&gateway, None).await];
    let mut log = shop.events(&gateway, None, None).await;
    let login = shop.linked(&gateway).await;
    assert_eq!((login.challenge.binding, &login.challenge.match_code), (Binding::Linked, &None));
    let link = login.link();
    assert_eq!((link.challenge_id, &link.issuer), (login.id(), &gateway.issuer));
    assert!(alice.challenges(&gateway).await.is_empty(), "nobody is asked before somebody claims it");

    let claimed: WalletChallenge = alice.claim(&gateway, &login).await.is(200).ok();
    assert_eq!(claimed.status, ChallengeStatus::Pending);
    assert_eq!(claimed.request, login.challenge.request, "what is signed is what was asked");
    assert_eq!((claimed.expires_at, claimed.return_to.clone()), (login.challenge.expires_at, None));
    assert_eq!(alice.claim(&gateway, &login).await.is(200).ok::<WalletChallenge>(), claimed, "again");
    assert_eq!(alice.challenges(&gateway).await, std::slice::from_ref(&claimed));
    assert_eq!(log.next().await.unwrap().name, "challenge_claimed");
    for device in &mut devices {
        let created = device.next().await.unwrap();
        assert_eq!(
            (created.name.as_str(), &created.json()["request"]),
            ("challenge_created", &json!(claimed.request))
        );
    }

    let returned = alice.approve_linked(&gateway, &login.challenge).await;
    assert_eq!((returned.challenge_id, &returned.issuer), (login.id(), &gateway.issuer));
    assert_eq!(returned.did.as_ref(), Some(alice.did()), "whom the browser that comes back goes on as");
    let verified = log.next().await.unwrap();
    assert_eq!(
        (verified.name.as_str(), &verified.json()["binding"]),
        ("challenge_verified", &json!("linked"))
    );
    assert_eq!(verified.json()["did"], json!(alice.did()));
    let code = shop.code(&gateway, login.id()).await;
    let (response_code, verifier) = (returned.response_code.expose(), &login.verifier);
    let tokens: TokenResponse =
        shop.exchange_returned(&gateway, &code, verifier, response_code).await.is(200).ok();
    assert_eq!(tokens.did, *alice.did());
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
    let told = log.next().await.unwrap();
    assert_eq!(told.name, "session_created", "claimed once, told once");
    for device in &mut devices {
        let next = [device.next().await.unwrap(), device.next().await.unwrap()];
        assert_eq!(service::names(&next), ["challenge_approved", "session_created"]);
    }
    alice.claim(&gateway, &login).await.refused(ErrorCode::ChallengeNotPending);

    // What comes back through the browser, the gateway tells nobody else; and the code never reaches a wallet.
    let mut all = shop.events(&gateway, Some(login.id()), None).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(all.next().await.unwrap());
    }
    assert_eq!(service::names(&told), ["challenge_claimed", "challenge_verified", "session_created"]);
    let shown = shop.get(&gateway, &paths::with_id(paths::CHALLENGE_BY_ID, login.id())).await.text();
    assert!(!shown.contains("miid_rc_") && told.iter().all(|event| !event.data.contains("miid_rc_")));
}

async fn a_return_url_is_registered_byte_for_byte(world: World) {
    let gateway = world.gateway(&[]).await;
    let flags = ["--return-url", "https://shop.example/auth/return?from=wallet"];
    let shop = gateway.add_service("demo-shop", &flags).await;
    let (mut good, _) = shop.asking_for_a_link();
    for url in [
        "",
        "http://127.0.0.1:15000",
        "http://127.0.0.1:15000/auth/return/",
        "http://127.0.0.1:15000/auth/return?x=1",
        "http://127.0.0.1:15000/auth/return#",
        "http://127.0.0.1:15000/auth/Return",
        "HTTP://127.0.0.1:15000/auth/return",
        "http://localhost:15000/auth/return",
        "https://shop.example/auth/return",
        "https://evil.example/auth/return",
        " http://127.0.0.1:15000/auth/return",
    ] {
        good.return_url = Some(url.to_owned());
        let answer = shop.create(&gateway, &good).await;
        answer.refused(ErrorCode::InvalidRequest);
        assert!(url.len() < 4 || !answer.text().contains(url), "an echo: {}", answer.text());
    }
    // Another service's is another's.
    let other = gateway.add_service("other-shop", &["--return-url", "https://other.example/"]).await;
    good.return_url = Some("https://other.example/".into());
    shop.create(&gateway, &good).await.refused(ErrorCode::InvalidRequest);
    other.create(&gateway, &good).await.is(201);
    for url in [RETURN_URL, flags[1]] {
        let (body, _) = shop.asking_for_a_link();
        let body = miid_protocol::service::CreateChallenge { return_url: Some(url.into()), ..body };
        shop.create(&gateway, &body).await.is(201);
    }
    // Neither of the two, both of them, and what this version does not do.
    let (mut odd, _) = shop.asking_for_a_link();
    odd.login_hint = Some(world.wallet().did().to_string());
    shop.create(&gateway, &odd).await.refused(ErrorCode::InvalidRequest);
    odd.login_hint = None;
    odd.return_url = None;
    shop.create(&gateway, &odd).await.refused(ErrorCode::InvalidRequest);
    let (mut step_up, _) = shop.asking_for_a_link();
    step_up.risk = miid_protocol::service::Risk::StepUp;
    shop.create(&gateway, &step_up).await.refused(ErrorCode::InvalidRequest);
}

async fn a_service_for_links_only_names_nobody(world: World) {
    let gateway = world.gateway(&[]).await;
    let shop = gateway.add_service("demo-shop", &["--binding", "linked"]).await;
    let alice = world.wallet();
    let (by_name, _) = shop.asking(alice.did().as_str());
    shop.create(&gateway, &by_name).await.refused(ErrorCode::InvalidRequest);
    let login = shop.linked(&gateway).await;
    sign_in(&gateway, &shop, &alice, &login).await;
}

/// Claim, approve, exchange.
async fn sign_in(
    gateway: &miid_e2e::Gateway,
    shop: &Service,
    wallet: &Wallet,
    login: &Login,
) -> TokenResponse {
    wallet.claim(gateway, login).await.is(200);
    let returned = wallet.approve_linked(gateway, &login.challenge).await;
    let code = shop.code(gateway, login.id()).await;
    shop.exchange_returned(gateway, &code, &login.verifier, returned.response_code.expose()).await.ok()
}

async fn the_same_request_again_shows_the_same_link(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let (body, _) = shop.asking_for_a_link();
    let answers = join_all((0..8).map(|_| shop.create(&gateway, &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    let first: Challenge = answers[0].ok();
    assert!(answers.iter().all(|answer| answer.ok::<Challenge>() == first));
    assert_eq!(shop.challenge(&gateway, first.challenge_id).await, first);
    let login = Login { challenge: first.clone(), verifier: String::new() };
    alice.claim(&gateway, &login).await.is(200);
    assert_eq!(
        shop.create(&gateway, &body).await.is(200).ok::<Challenge>(),
        Challenge { claimed: true, ..first },
        "it is the same, and says that it is claimed"
    );
    // Each has a secret of its own.
    assert_ne!(shop.linked(&gateway).await.link().secret.expose(), login.link().secret.expose());
}

async fn an_exchange_needs_the_response_code_of_this_approval(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let other_shop = gateway.add_service("other-shop", &[]).await;
    let alice = world.wallet();
    let (login, other) = (shop.linked(&gateway).await, shop.linked(&gateway).await);
    for login in [&login, &other] {
        alice.claim(&gateway, login).await.is(200);
    }
    let returned = alice.approve_linked(&gateway, &login.challenge).await;
    let others = alice.approve_linked(&gateway, &other.challenge).await;
    let (right, verifier) = (returned.response_code.expose(), &login.verifier);
    let code = shop.code(&gateway, login.id()).await;
    let unchanged = shop.challenge(&gateway, login.id()).await;
    let is_wrong = |answer: &Answer| {
        answer.refused(ErrorCode::WrongResponseCode);
        assert_eq!(answer.problem().error.as_deref(), Some("invalid_grant"));
    };
    is_wrong(&shop.exchange(&gateway, &code, verifier).await);
    let link = login.link().secret.expose().replace("_ls_", "_rc_");
    for wrong in [others.response_code.expose(), "", "miid_rc_", &code, &link, &format!("{right}=")] {
        is_wrong(&shop.exchange_returned(&gateway, &code, verifier, wrong).await);
    }
    // Service and verifier come first, and say nothing about the response code.
    let (wrong, invalid) = (others.response_code.expose(), ErrorCode::InvalidGrant);
    for response_code in [right, wrong] {
        other_shop.exchange_returned(&gateway, &code, verifier, response_code).await.refused(invalid);
        let other_verifier = service::pkce().0;
        shop.exchange_returned(&gateway, &code, &other_verifier, response_code).await.refused(invalid);
    }
    assert_eq!(shop.challenge(&gateway, login.id()).await, unchanged, "nothing changed");
    let tokens: TokenResponse = shop.exchange_returned(&gateway, &code, verifier, right).await.ok();

    // With a wrong one it is no second use either; with the right one it is.
    is_wrong(&shop.exchange_returned(&gateway, &code, verifier, wrong).await);
    is_wrong(&shop.exchange(&gateway, &code, verifier).await);
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
    shop.exchange_returned(&gateway, &code, verifier, right).await.refused(invalid);
    assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
}

async fn an_addressed_sign_in_has_no_response_code(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let linked = shop.linked(&gateway).await;
    alice.claim(&gateway, &linked).await.is(200);
    let returned = alice.approve_linked(&gateway, &linked.challenge).await;
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let approved = alice.approve(&gateway, &login.challenge, login.number()).await.json();
    assert_eq!(approved.get("return_to"), None);
    let code = shop.code(&gateway, login.id()).await;
    for given in [returned.response_code.expose(), "", "miid_rc_"] {
        let answer = shop.exchange_returned(&gateway, &code, &login.verifier, given).await;
        answer.refused(ErrorCode::WrongResponseCode);
        shop.withdraw(&gateway, login.id(), Some(given)).await.refused(ErrorCode::WrongResponseCode);
    }
    shop.exchange(&gateway, &code, &login.verifier).await.is(200);
}

async fn a_number_is_not_asked_for_and_not_taken(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.linked(&gateway).await;
    alice.claim(&gateway, &login).await.is(200);
    let answer = alice.approve(&gateway, &login.challenge, "47").await;
    answer.refused(ErrorCode::InvalidStatement);
    assert_eq!(shop.challenge(&gateway, login.id()).await.status, ChallengeStatus::Pending);
    let answer = alice.approve_linked(&gateway, &login.challenge).await;
    assert_eq!(answer.challenge_id, login.id());
    alice.try_approve_linked(&gateway, &login.challenge).await.refused(ErrorCode::ChallengeNotPending);
}

async fn a_second_approval_kills_what_the_first_gave(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.linked(&gateway).await;
    alice.claim(&gateway, &login).await.is(200);
    let first = alice.approve_linked(&gateway, &login.challenge).await.response_code;
    let first_code = shop.code(&gateway, login.id()).await;
    alice.cancel(&gateway, &login.challenge).await.is(200);
    let listed = alice.listed(&gateway, login.id()).await.unwrap();
    assert_eq!((listed.status, listed.return_to), (ChallengeStatus::Pending, None));
    assert_eq!(listed.request, login.challenge.request);
    shop.withdraw(&gateway, login.id(), Some(first.expose())).await.refused(ErrorCode::WrongResponseCode);
    let (verifier, invalid) = (&login.verifier, ErrorCode::InvalidGrant);
    shop.exchange_returned(&gateway, &first_code, verifier, first.expose()).await.refused(invalid);

    let second = alice.approve_linked(&gateway, &login.challenge).await.response_code;
    let second_code = shop.code(&gateway, login.id()).await;
    assert!(first.hash() != second.hash() && first_code != second_code);
    shop.withdraw(&gateway, login.id(), Some(first.expose())).await.refused(ErrorCode::WrongResponseCode);
    shop.exchange_returned(&gateway, &first_code, verifier, first.expose()).await.refused(invalid);
    shop.exchange_returned(&gateway, &first_code, verifier, second.expose()).await.refused(invalid);
    let crossed = shop.exchange_returned(&gateway, &second_code, verifier, first.expose()).await;
    crossed.refused(ErrorCode::WrongResponseCode);
    shop.exchange_returned(&gateway, &second_code, verifier, second.expose()).await.is(200);
}

async fn an_approval_in_another_browser_ends_it(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut wallet = alice.events(&gateway, None).await;
    let (login, other) = (shop.linked(&gateway).await, shop.linked(&gateway).await);
    for login in [&login, &other] {
        alice.claim(&gateway, login).await.is(200);
    }
    let right = alice.approve_linked(&gateway, &login.challenge).await.response_code;
    let others = alice.approve_linked(&gateway, &other.challenge).await.response_code;
    let code = shop.code(&gateway, login.id()).await;
    let unchanged = shop.challenge(&gateway, login.id()).await;
    for wrong in [others.expose(), "", &code, login.link().secret.expose()] {
        shop.withdraw(&gateway, login.id(), Some(wrong)).await.refused(ErrorCode::WrongResponseCode);
    }
    let stranger = gateway.add_service("other-shop", &[]).await;
    let foreign = stranger.withdraw(&gateway, login.id(), Some(right.expose())).await;
    foreign.refused(ErrorCode::ChallengeNotFound);
    assert_eq!(shop.challenge(&gateway, login.id()).await, unchanged);

    for _ in 0..2 {
        let ended: Challenge = shop.withdraw(&gateway, login.id(), Some(right.expose())).await.is(200).ok();
        assert_eq!(
            (ended.status, ended.reason.unwrap().as_str()),
            (ChallengeStatus::Expired, "other_browser")
        );
    }
    assert_eq!(wallet.expect("challenge_expired").await.json()["reason"], "other_browser");
    let mut log = shop.events(&gateway, Some(login.id()), None).await;
    assert_eq!(log.expect("challenge_expired").await.json()["reason"], "other_browser");
    let answer = shop.exchange_returned(&gateway, &code, &login.verifier, right.expose()).await;
    answer.refused(ErrorCode::InvalidGrant);
    assert!(alice.sessions(&gateway).await.is_empty());
    assert_eq!(alice.listed(&gateway, login.id()).await, None);
    // The other goes on.
    let code = shop.code(&gateway, other.id()).await;
    shop.exchange_returned(&gateway, &code, &other.verifier, others.expose()).await.is(200);
    shop.withdraw(&gateway, other.id(), Some(others.expose())).await.refused(ErrorCode::ChallengeNotPending);
}

async fn only_a_live_approval_has_a_right_response_code(world: World) {
    let (gateway, shop) = world.gateway_and_service(&["--code-ttl", "2s"]).await;
    let alice = world.wallet();
    let wrong = ErrorCode::WrongResponseCode;
    let mut log = shop.events(&gateway, None, None).await;
    // Approved, and not exchanged in time.
    let lapsed = shop.linked(&gateway).await;
    alice.claim(&gateway, &lapsed).await.is(200);
    let code = alice.approve_linked(&gateway, &lapsed.challenge).await.response_code;
    assert_eq!(log.expect("challenge_expired").await.json()["reason"], "code_timeout");
    shop.withdraw(&gateway, lapsed.id(), Some(code.expose())).await.refused(wrong);
    // Withdrawn by the service itself.
    let withdrawn = shop.linked(&gateway).await;
    alice.claim(&gateway, &withdrawn).await.is(200);
    let code = alice.approve_linked(&gateway, &withdrawn.challenge).await.response_code;
    shop.withdraw(&gateway, withdrawn.id(), None).await.is(200);
    shop.withdraw(&gateway, withdrawn.id(), Some(code.expose())).await.refused(wrong);
    // Taken back and denied; and never approved.
    let denied = shop.linked(&gateway).await;
    shop.withdraw(&gateway, denied.id(), Some(code.expose())).await.refused(wrong);
    alice.claim(&gateway, &denied).await.is(200);
    let code = alice.approve_linked(&gateway, &denied.challenge).await.response_code;
    alice.cancel(&gateway, &denied.challenge).await.is(200);
    alice.deny(&gateway, &denied.challenge, DenyReason::NotMe).await.is(200);
    shop.withdraw(&gateway, denied.id(), Some(code.expose())).await.refused(wrong);
    shop.withdraw(&gateway, denied.id(), None).await.refused(ErrorCode::ChallengeNotPending);
}

async fn the_return_address_is_shown_as_long_as_it_leads_anywhere(world: World) {
    let (gateway, shop) = world.gateway_and_service(&["--code-ttl", "3s"]).await;
    let alice = world.wallet();
    let login = shop.linked(&gateway).await;
    alice.claim(&gateway, &login).await.is(200);
    assert_eq!(alice.listed(&gateway, login.id()).await.unwrap().return_to, None);
    let returned = alice.approve_linked(&gateway, &login.challenge).await;
    let address = returned.to_address(RETURN_URL);
    assert!(address.ends_with(&format!("&did={}", alice.did())), "{address}");
    // A wallet whose answer was lost finds it in its list, and by claiming again.
    let listed = alice.listed(&gateway, login.id()).await.unwrap();
    assert_eq!((listed.status, listed.return_to.as_ref()), (ChallengeStatus::Approved, Some(&address)));
    assert_eq!(alice.claim(&gateway, &login).await.ok::<WalletChallenge>(), listed);
    let again = wallet::returned(&address).response_code;
    let code = shop.code(&gateway, login.id()).await;
    shop.exchange_returned(&gateway, &code, &login.verifier, again.expose()).await.is(200);
    assert_eq!(alice.listed(&gateway, login.id()).await, None);

    let unused = shop.linked(&gateway).await;
    alice.claim(&gateway, &unused).await.is(200);
    alice.approve_linked(&gateway, &unused.challenge).await;
    let mut log = shop.events(&gateway, Some(unused.id()), None).await;
    log.expect("challenge_expired").await;
    assert_eq!(alice.listed(&gateway, unused.id()).await, None);
    let late = alice.claim(&gateway, &unused).await;
    late.refused(ErrorCode::ChallengeExpired);
    assert!(!late.text().contains("miid_rc_"));
}

async fn the_gateway_is_killed_between_the_steps_of_a_link(world: World) {
    let (mut gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let (body, verifier) = shop.asking_for_a_link();
    let challenge: Challenge = shop.create(&gateway, &body).await.is(201).ok();
    let login = Login { challenge, verifier };

    gateway.crash().await;
    assert_eq!(shop.create(&gateway, &body).await.is(200).ok::<Challenge>(), login.challenge);
    alice.claim(&gateway, &login).await.is(200);

    gateway.crash().await;
    world.wallet().claim(&gateway, &login).await.refused(ErrorCode::AlreadyClaimed);
    let claimed: WalletChallenge = alice.claim(&gateway, &login).await.is(200).ok();
    assert_eq!(alice.listed(&gateway, login.id()).await, Some(claimed));
    let returned = alice.approve_linked(&gateway, &login.challenge).await;
    let address = returned.to_address(RETURN_URL);

    gateway.crash().await;
    alice.try_approve_linked(&gateway, &login.challenge).await.refused(ErrorCode::ChallengeNotPending);
    let listed = alice.listed(&gateway, login.id()).await.unwrap();
    assert_eq!(listed.return_to, Some(address), "the response code is derived, not forgotten");
    let code = shop.code(&gateway, login.id()).await;
    let (verifier, response_code) = (&login.verifier, returned.response_code.expose());
    let tokens: TokenResponse =
        shop.exchange_returned(&gateway, &code, verifier, response_code).await.is(200).ok();

    gateway.crash().await;
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
    let again = shop.exchange_returned(&gateway, &code, verifier, response_code).await;
    again.refused(ErrorCode::InvalidGrant);
    assert!(!shop.introspect(&gateway, &tokens.access_token).await.active, "a code is used once");

    // And the way on which somebody else began it.
    let other = shop.linked(&gateway).await;
    alice.claim(&gateway, &other).await.is(200);
    let response_code = alice.approve_linked(&gateway, &other.challenge).await.response_code;
    shop.withdraw(&gateway, other.id(), Some(response_code.expose())).await.is(200);
    gateway.crash().await;
    let ended: Challenge =
        shop.withdraw(&gateway, other.id(), Some(response_code.expose())).await.is(200).ok();
    assert_eq!(ended.reason.unwrap().as_str(), "other_browser");
}

async fn a_link_crosses_between_two_gateways(world: World) {
    let (a, shop) = world.gateway_and_service(&[]).await;
    let b = a.another_elsewhere("gateway-b").await;
    let alice = world.wallet();
    let (mut wallet, mut log) = (alice.events(&b, None).await, shop.events(&b, None, None).await);
    for _ in 0..3 {
        // Asked for at A, claimed at B, approved at A, exchanged at B.
        let login = shop.linked(&a).await;
        alice.claim(&b, &login).await.is(200);
        assert_eq!(wallet.expect("challenge_created").await.json()["challenge_id"], json!(login.id()));
        log.expect("challenge_claimed").await;
        alice.claim(&a, &login).await.is(200);
        world.wallet().claim(&a, &login).await.refused(ErrorCode::AlreadyClaimed);
        let returned = alice.approve_linked(&a, &login.challenge).await;
        assert_eq!(
            alice.listed(&b, login.id()).await.unwrap().return_to,
            Some(returned.to_address(RETURN_URL))
        );
        let code = shop.code(&b, login.id()).await;
        shop.exchange(&b, &code, &login.verifier).await.refused(ErrorCode::WrongResponseCode);
        let response_code = returned.response_code.expose();
        let tokens: TokenResponse =
            shop.exchange_returned(&b, &code, &login.verifier, response_code).await.ok();
        assert!(shop.introspect(&a, &tokens.access_token).await.active);
    }
}
