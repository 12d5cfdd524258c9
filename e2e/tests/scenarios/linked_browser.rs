//! Sign-in by link, from the page to the wallet and back: with whose browser it ends, and with whose not.

use futures_util::future::join_all;
use miid_e2e::port::Port;
use miid_e2e::{Gateway, Shop, Wallet, World, eventually, on_both, on_postgres, on_sqlite};
use miid_protocol::browser::{LoginStatus, StartResponse};
use miid_protocol::link::{Returned, WalletLink};
use miid_protocol::secret::Secret;
use miid_protocol::service::{Binding, ChallengeStatus, EndReason, ExpireReason};
use miid_protocol::{ErrorCode, Issuer, paths};
use reqwest::Method;
use serde_json::json;

use crate::sign_in::{ends, is_active, reaches};

on_both!(
    a_link_leads_to_the_wallet_and_back,
    an_approval_that_comes_back_elsewhere_signs_nobody_in,
    a_way_back_leads_to_one_session_however_often_it_is_taken,
    a_way_back_leads_nowhere_for_another_sign_in,
    a_browser_is_quicker_than_the_event,
    an_approval_taken_back_makes_its_way_back_worthless,
    a_page_gives_up_what_was_approved,
    nobody_comes_back_in_time,
    no_secret_of_a_link_lies_about,
);
on_sqlite!(
    a_return_address_that_is_not_registered_is_said_to_the_operator,
    a_shop_offers_what_it_is_told_to,
    the_gateway_is_away_when_the_browser_comes_back,
    the_shop_is_killed_while_it_finishes,
);
on_postgres!(a_browser_comes_back_to_another_instance,);

/// Takes the link that a page shows.
pub(crate) async fn claim(gateway: &Gateway, wallet: &Wallet, started: &StartResponse) -> String {
    let link = started.wallet_link.as_deref().expect("a linked login has a link");
    let link = WalletLink::parse(link).expect("it is one");
    assert_eq!(link.issuer, gateway.issuer);
    let claimed = wallet.claim_with(gateway, link.challenge_id, link.secret.expose()).await;
    claimed.is(200).json()["request"].as_str().expect("a request").to_owned()
}

/// Approves what was claimed; the address that the wallet opens.
pub(crate) async fn approve(gateway: &Gateway, wallet: &Wallet, started: &StartResponse) -> String {
    let listed = wallet.listed(gateway, started.challenge_id).await.expect("the wallet's list shows it");
    let statement = wallet.approval(gateway, &listed.request, None);
    let body = json!({"statement": statement});
    let outcome = wallet.post(gateway, &paths::approve(started.challenge_id), &body).await.is(200).json();
    outcome["return_to"].as_str().expect("where to return").to_owned()
}

/// The same, and what the page that it opens reads.
pub(crate) async fn approved(
    gateway: &Gateway,
    shop: &Shop,
    wallet: &Wallet,
    started: &StartResponse,
) -> Returned {
    let address = approve(gateway, wallet, started).await;
    let (page, fragment) = address.split_once('#').expect("what matters is in the fragment");
    assert_eq!(page, format!("{}{}", shop.origin(), paths::AUTH_RETURN));
    Returned::parse(fragment).expect("the gateway's fragment parses")
}

pub(crate) fn made_up(returned: &Returned) -> Returned {
    Returned { response_code: Secret::from_bytes([7; 32]), ..returned.clone() }
}

async fn take_back(gateway: &Gateway, shop: &Shop, wallet: &Wallet, started: &StartResponse) {
    let challenge = shop.service().challenge(gateway, started.challenge_id).await;
    wallet.cancel(gateway, &challenge).await.is(200);
}

async fn a_link_leads_to_the_wallet_and_back(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let mut wallet = alice.events(&gateway, None).await;
    let started = browser.start_linked().await;
    let id = started.challenge_id;
    assert_eq!((started.binding, &started.match_code), (Binding::Linked, &None));
    let mut page = browser.stream(id).await;
    let snapshot: LoginStatus = page.expect("snapshot").await.parse();
    assert_eq!((snapshot.status, snapshot.claimed), (ChallengeStatus::Pending, false));

    claim(&gateway, &alice, &started).await;
    let claimed: LoginStatus = page.expect("claimed").await.parse();
    assert_eq!((claimed.status, claimed.claimed), (ChallengeStatus::Pending, true));
    let back = approved(&gateway, &shop, &alice, &started).await;
    let told: LoginStatus = page.expect("approved").await.parse();
    assert_eq!(told.did, None, "whoever began it learns that somebody approved, and not who");
    // Nothing comes of it before its browser is back.
    browser.complete(id).await.refused(ErrorCode::NotActiveYet);
    assert!(alice.sessions(&gateway).await.is_empty());

    let returned: LoginStatus = browser.come_back(&back).await.is(200).ok();
    assert_eq!((returned.status, returned.did.as_ref()), (ChallengeStatus::Active, Some(alice.did())));
    assert_eq!(ends(&mut page).await.status, ChallengeStatus::Active);
    wallet.expect("session_created").await;
    browser.complete(id).await.is(200);
    assert_eq!(browser.session().await.did, *alice.did());
    assert_eq!(alice.sessions(&gateway).await.len(), 1);

    // Nor does the page learn of itself who approved, the same person or another.
    for person in [&alice, &world.wallet()] {
        let started = browser.start_linked().await;
        claim(&gateway, person, &started).await;
        let back = approved(&gateway, &shop, person, &started).await;
        let seen = reaches(&browser, &started, ChallengeStatus::Approved).await;
        assert_eq!(seen.did, None);
        browser.come_back(&back).await.is(200);
        browser.complete(started.challenge_id).await.is(200);
    }
}

async fn an_approval_that_comes_back_elsewhere_signs_nobody_in(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let victim = world.wallet();
    let (attacker, victims) = (world.browser(&shop), world.browser(&shop));
    let mut wallet = victim.events(&gateway, None).await;
    // The attacker begins, and sends the link to somebody who claims and approves it.
    let started = attacker.start_linked().await;
    let id = started.challenge_id;
    let mut page = attacker.stream(id).await;
    claim(&gateway, &victim, &started).await;
    let back = approved(&gateway, &shop, &victim, &started).await;
    page.expect("approved").await;
    // A guess stops nothing, and says nothing.
    victims.come_back(&made_up(&back)).await.refused(ErrorCode::ChallengeNotFound);
    attacker.come_back(&made_up(&back)).await.refused(ErrorCode::WrongResponseCode);
    assert_eq!(attacker.status(id).await.status, ChallengeStatus::Approved);

    // The victim's wallet opens the victim's browser.
    let stopped: LoginStatus = victims.come_back(&back).await.is(200).ok();
    let reason = Some(EndReason::Expired(ExpireReason::OtherBrowser));
    assert_eq!((stopped.status, stopped.reason, stopped.did), (ChallengeStatus::Expired, reason, None));
    assert_eq!(ends(&mut page).await.reason, reason, "the attacker's page says so");
    assert_eq!(wallet.expect("challenge_expired").await.json()["reason"], "other_browser", "and the wallet");
    assert!(victims.cookie_names().is_empty());
    for browser in [&attacker, &victims] {
        browser.come_back(&back).await.is(200);
        assert!(browser.complete(id).await.status >= 400);
        assert!(!browser.is_signed_in().await);
    }
    assert!(victim.sessions(&gateway).await.is_empty());
    let challenge = shop.service().challenge(&gateway, id).await;
    assert_eq!((challenge.status, challenge.reason), (ChallengeStatus::Expired, reason));
}

async fn a_way_back_leads_to_one_session_however_often_it_is_taken(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start_linked().await;
    claim(&gateway, &alice, &started).await;
    let back = approved(&gateway, &shop, &alice, &started).await;
    for answer in join_all((0..6).map(|_| browser.come_back(&back))).await {
        assert_eq!(answer.is(200).ok::<LoginStatus>().status, ChallengeStatus::Active);
    }
    browser.complete(started.challenge_id).await.is(200);
    let session = browser.session().await;
    // Later, here and in a browser without the cookie: nothing new, and nothing ends.
    assert_eq!(browser.come_back(&back).await.is(200).ok::<LoginStatus>().status, ChallengeStatus::Active);
    world.browser(&shop).come_back(&back).await.refused(ErrorCode::ChallengeNotFound);
    assert_eq!(browser.session().await, session);
    let sessions = alice.sessions(&gateway).await;
    assert_eq!(sessions.iter().map(|one| one.session_id).collect::<Vec<_>>(), [session.session_id]);
}

async fn a_way_back_leads_nowhere_for_another_sign_in(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let (alices, bobs) = (world.browser(&shop), world.browser(&shop));
    let (first, second) = (alices.start_linked().await, bobs.start_linked().await);
    claim(&gateway, &alice, &first).await;
    claim(&gateway, &bob, &second).await;
    let of_alice = approved(&gateway, &shop, &alice, &first).await;
    let of_bob = approved(&gateway, &shop, &bob, &second).await;

    let crossed = Returned { challenge_id: second.challenge_id, ..of_alice.clone() };
    bobs.come_back(&crossed).await.refused(ErrorCode::WrongResponseCode);
    alices.come_back(&crossed).await.refused(ErrorCode::ChallengeNotFound);
    // Of another gateway, so it is not even shown to ours: the right code stops nothing.
    let other = Issuer::parse("https://gateway.example").expect("an issuer");
    let foreign = Returned { issuer: other, ..of_bob.clone() };
    for browser in [&alices, &bobs] {
        browser.come_back(&foreign).await.refused(ErrorCode::InvalidRequest);
    }
    // An addressed sign-in has no way back at all.
    let addressed = alices.start(alice.did().as_str()).await;
    let crossed = Returned { challenge_id: addressed.challenge_id, ..of_alice.clone() };
    alices.come_back(&crossed).await.refused(ErrorCode::WrongResponseCode);
    // From another site, with the cookie of the right one.
    let body = json!({"challenge_id": second.challenge_id, "response_code": of_bob.response_code.expose(),
        "iss": gateway.issuer});
    let request = bobs.request(Method::POST, paths::AUTH_RETURN).header("Origin", "http://evil.example");
    bobs.send(request.json(&body)).await.refused(ErrorCode::CrossSiteRequest);

    assert_eq!(bobs.status(second.challenge_id).await.status, ChallengeStatus::Approved);
    bobs.come_back(&of_bob).await.is(200);
    bobs.complete(second.challenge_id).await.is(200);
    assert_eq!(bobs.session().await.did, *bob.did());
    alices.come_back(&of_alice).await.is(200);
    alices.complete(first.challenge_id).await.is(200);
    assert_eq!(alices.session().await.did, *alice.did());
}

async fn a_browser_is_quicker_than_the_event(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    for _ in 0..10 {
        let started = browser.start_linked().await;
        claim(&gateway, &alice, &started).await;
        // Nobody looks in between.
        let back = approved(&gateway, &shop, &alice, &started).await;
        let returned: LoginStatus = browser.come_back(&back).await.is(200).ok();
        assert_eq!(returned.status, ChallengeStatus::Active);
        browser.complete(started.challenge_id).await.is(200);
    }
    assert_eq!(browser.session().await.did, *alice.did());
}

async fn an_approval_taken_back_makes_its_way_back_worthless(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start_linked().await;
    let mut page = browser.stream(started.challenge_id).await;
    claim(&gateway, &alice, &started).await;
    let dead = approved(&gateway, &shop, &alice, &started).await;
    page.expect("approved").await;
    take_back(&gateway, &shop, &alice, &started).await;
    let pending: LoginStatus = page.expect("pending").await.parse();
    assert!(pending.claimed, "the wallet still has it");
    browser.come_back(&dead).await.refused(ErrorCode::WrongResponseCode);
    world.browser(&shop).come_back(&dead).await.refused(ErrorCode::ChallengeNotFound);

    let back = approved(&gateway, &shop, &alice, &started).await;
    page.expect("approved").await;
    // What belonged to the first approval stays dead, and stops nothing in another browser.
    browser.come_back(&dead).await.refused(ErrorCode::WrongResponseCode);
    world.browser(&shop).come_back(&dead).await.refused(ErrorCode::ChallengeNotFound);
    browser.come_back(&back).await.is(200);
    is_active(&browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
}

async fn a_page_gives_up_what_was_approved(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let mut wallet = alice.events(&gateway, None).await;
    let started = browser.start_linked().await;
    claim(&gateway, &alice, &started).await;
    let back = approved(&gateway, &shop, &alice, &started).await;
    reaches(&browser, &started, ChallengeStatus::Approved).await;
    let cancel = paths::with_id(paths::AUTH_CANCEL, started.challenge_id);
    browser.post(&cancel, None).await.is(204);
    assert_eq!(wallet.expect("challenge_expired").await.json()["reason"], "withdrawn");
    let over: LoginStatus = browser.come_back(&back).await.is(200).ok();
    assert_eq!(over.reason, Some(EndReason::Expired(ExpireReason::Withdrawn)));
    assert!(!browser.is_signed_in().await);
    assert!(alice.sessions(&gateway).await.is_empty());
}

async fn nobody_comes_back_in_time(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&["--code-ttl", "2s"]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start_linked().await;
    let mut page = browser.stream(started.challenge_id).await;
    claim(&gateway, &alice, &started).await;
    let back = approved(&gateway, &shop, &alice, &started).await;
    let reason = Some(EndReason::Expired(ExpireReason::CodeTimeout));
    assert_eq!(ends(&mut page).await.reason, reason);
    let late: LoginStatus = browser.come_back(&back).await.is(200).ok();
    assert_eq!((late.status, late.reason), (ChallengeStatus::Expired, reason));
    assert!(!browser.is_signed_in().await);
}

async fn no_secret_of_a_link_lies_about(world: World) {
    let (mut gateway, mut shop) = world.gateway_and_shop(&["--log-json"]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let (browser, other) = (world.browser(&shop), world.browser(&shop));
    let before = world.secrets().count();
    // One that is finished, one that is stopped, one that waits for its browser, one that nobody took.
    let finished = browser.start_linked().await;
    claim(&gateway, &alice, &finished).await;
    let back = approved(&gateway, &shop, &alice, &finished).await;
    browser.come_back(&made_up(&back)).await.refused(ErrorCode::WrongResponseCode);
    browser.come_back(&back).await.is(200);
    browser.complete(finished.challenge_id).await.is(200);
    let stopped = other.start_linked().await;
    claim(&gateway, &bob, &stopped).await;
    let elsewhere = approved(&gateway, &shop, &bob, &stopped).await;
    browser.come_back(&elsewhere).await.is(200);
    let waiting = other.start_linked().await;
    claim(&gateway, &bob, &waiting).await;
    let never = approved(&gateway, &shop, &bob, &waiting).await;
    reaches(&other, &waiting, ChallengeStatus::Approved).await;
    let untaken = world.browser(&shop).start_linked().await;
    shop.service().challenge(&gateway, waiting.challenge_id).await;

    for started in [&finished, &stopped, &waiting, &untaken] {
        world.secrets().add_all_in(started.wallet_link.as_deref().expect("a link"));
    }
    for returned in [&back, &elsewhere, &never] {
        world.secrets().add(returned.response_code.expose());
    }
    assert!(world.secrets().count() >= before + 12, "the search has something to search for");
    world.keeps_its_secrets_in_dumps().await;
    gateway.stop().await;
    shop.kill();
    world.keeps_its_secrets();
    world.keeps_its_secrets_in_dumps().await;
}

async fn a_return_address_that_is_not_registered_is_said_to_the_operator(world: World) {
    let gateway = world.gateway(&[]).await;
    // As everybody begins: the service is there, and nobody thought of its return address.
    let service = gateway.add_service("demo-shop", &[]).await;
    let mut shop = Shop::start_on(&world, Port::take(), &gateway, &service, &[]).await;
    let browser = world.browser(&shop);
    let answer = browser.try_start_linked().await;
    answer.refused(ErrorCode::GatewayUnavailable);
    assert!(answer.text().contains("return address"), "{}", answer.text());
    assert!(browser.cookie_names().is_empty());
    let return_url = format!("{}{}", shop.origin(), paths::AUTH_RETURN);
    let command = ["service", "update", "demo-shop", "--add-return-url", &return_url];
    let log = shop.program().errors();
    assert!(log.contains(&format!("miid-gateway {}", command.join(" "))), "{log}");
    // By handle it works all the same.
    let alice = world.wallet();
    crate::sign_in::sign_in(&gateway, &browser, &alice).await;
    // And once that is typed, by link as well.
    gateway.run(&command).await.ok();
    eventually("the gateway lets sign-ins come back to the shop", || async {
        (browser.try_start_linked().await.status == 201).then_some(())
    })
    .await;
}

async fn a_shop_offers_what_it_is_told_to(world: World) {
    let gateway = world.gateway(&[]).await;
    let service = gateway.add_service("demo-shop", &["--binding", "linked"]).await;
    let port = Port::take();
    let return_url = format!("{}{}", port.origin(), paths::AUTH_RETURN);
    let registered =
        gateway.add_service("links-only", &["--binding", "linked", "--return-url", &return_url]).await;
    let mut shop = Shop::start_on(&world, port, &gateway, &registered, &["--binding", "linked"]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    browser.try_start(alice.did().as_str()).await.refused(ErrorCode::InvalidRequest);
    browser.start_linked().await;
    shop.kill();
    let shop = Shop::start_on(&world, Port::take(), &gateway, &service, &["--binding", "addressed"]).await;
    world.browser(&shop).try_start_linked().await.refused(ErrorCode::InvalidRequest);
}

async fn the_gateway_is_away_when_the_browser_comes_back(world: World) {
    let (mut gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start_linked().await;
    claim(&gateway, &alice, &started).await;
    let back = approved(&gateway, &shop, &alice, &started).await;
    gateway.kill();
    browser.come_back(&back).await.refused(ErrorCode::GatewayUnavailable);
    gateway.restart().await;
    let returned: LoginStatus = browser.come_back(&back).await.is(200).ok();
    assert_eq!(returned.status, ChallengeStatus::Active);
    browser.complete(started.challenge_id).await.is(200);
    assert_eq!(browser.session().await.did, *alice.did());
}

async fn the_shop_is_killed_while_it_finishes(world: World) {
    let (gateway, mut shop) = world.gateway_and_shop(&[]).await;
    for _ in 0..8 {
        let (alice, browser) = (world.wallet(), world.browser(&shop));
        let started = browser.start_linked().await;
        claim(&gateway, &alice, &started).await;
        let back = approved(&gateway, &shop, &alice, &started).await;
        let body = json!({"challenge_id": back.challenge_id, "response_code": back.response_code.expose(),
            "iss": back.issuer});
        let origin = shop.origin().to_owned();
        let request = browser.request(Method::POST, paths::AUTH_RETURN).header("Origin", origin).json(&body);
        // The gateway has made the session, and the shop may or may not have heard of it.
        let exchanged = eventually("the exchange is done at the gateway", || async {
            let challenge = shop.service().challenge(&gateway, started.challenge_id).await;
            (challenge.status == ChallengeStatus::Active).then_some(())
        });
        tokio::select! {
            () = exchanged => {}
            _ = request.send() => {}
        }
        shop.kill();
        shop.restart().await;
        // Finished, or undone and begun anew: never a session that nobody holds.
        browser.come_back(&back).await.is(200);
        let over = eventually("the sign-in is over", || async {
            let now = browser.status(started.challenge_id).await;
            now.status.is_final().then_some(now)
        })
        .await;
        if over.status == ChallengeStatus::Active {
            browser.complete(started.challenge_id).await.is(200);
            assert_eq!(browser.session().await.did, *alice.did());
            assert_eq!(alice.sessions(&gateway).await.len(), 1);
        } else {
            assert_eq!(over.status, ChallengeStatus::Expired);
            eventually("nothing is left over", || async {
                alice.sessions(&gateway).await.is_empty().then_some(())
            })
            .await;
        }
    }
}

async fn a_browser_comes_back_to_another_instance(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let second = shop.another("shop-b").await;
    let (alice, here) = (world.wallet(), world.browser(&shop));
    let there = here.through(second.instance());
    for _ in 0..5 {
        let started = here.start_linked().await;
        let id = started.challenge_id;
        let mut pages = [here.stream(id).await, there.stream(id).await];
        claim(&gateway, &alice, &started).await;
        for page in &mut pages {
            page.expect("claimed").await;
        }
        let back = approved(&gateway, &shop, &alice, &started).await;
        // At once through both, before or after either has heard of the approval.
        let (one, two) = tokio::join!(there.come_back(&back), here.come_back(&back));
        for answer in [one, two] {
            assert_eq!(answer.is(200).ok::<LoginStatus>().status, ChallengeStatus::Active);
        }
        for page in &mut pages {
            assert_eq!(ends(page).await.status, ChallengeStatus::Active);
        }
        there.complete(id).await.is(200);
        assert_eq!(here.session().await.did, *alice.did());
        assert_eq!(alice.sessions(&gateway).await.len(), 1);
    }
    // What a stranger's browser stops at one is stopped at the other.
    let started = here.start_linked().await;
    let mut page = here.stream(started.challenge_id).await;
    claim(&gateway, &alice, &started).await;
    let back = approved(&gateway, &shop, &alice, &started).await;
    world.browser(&shop).through(second.instance()).come_back(&back).await.is(200);
    assert_eq!(ends(&mut page).await.reason, Some(EndReason::Expired(ExpireReason::OtherBrowser)));
}
