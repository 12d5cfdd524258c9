//! Step-ups, as the gateway alone decides them: asked for in a session that lives, answered by its person and nobody
//! else, worth one short token, and over when the session is.

use futures_util::future::{join, join_all};
use miid_e2e::gateway::Address;
use miid_e2e::{Login, Renewable as _, Service, Wallet, World};
use miid_e2e::{on_both, on_postgres, on_sqlite};
use miid_protocol::request::SignInRequest;
use miid_protocol::service::{
    Challenge, ChallengeStatus, CreateChallenge, Risk, ServiceSessionList, TokenResponse,
};
use miid_protocol::{ErrorCode, SessionId, jws, paths};
use serde_json::{Value, json};

use crate::step_up_ends::ENDED;

on_both!(
    a_step_up_gives_one_short_token_and_leaves_its_session_as_it_is,
    what_is_asked_for_in_a_session_is_checked,
    a_session_that_is_over_foreign_or_unknown_is_not_found,
    only_the_sessions_own_person_takes_the_link,
    an_addressed_step_up_is_for_who_the_session_is,
    three_step_ups_are_pending_in_a_session_at_most,
    the_same_step_up_again_is_the_same_also_when_its_session_ended,
    a_step_up_and_a_sign_in_do_not_stand_for_one_another,
);
on_sqlite!(how_a_service_may_ask_is_part_of_its_registration,);
on_postgres!(a_step_up_crosses_between_two_gateways,);

/// What a step-up in this session says.
fn asking(shop: &Service, session: SessionId) -> (CreateChallenge, String) {
    let (body, verifier) = shop.asking_for_a_link();
    let body = CreateChallenge {
        scopes: vec![],
        claims: vec![],
        binding_message: Some("Send 250 to Bob".into()),
        risk: Risk::StepUp,
        step_up_session: Some(session),
        ..body
    };
    (body, verifier)
}

/// The same by a number.
fn asking_by(shop: &Service, session: SessionId, hint: &str) -> (CreateChallenge, String) {
    let (body, verifier) = asking(shop, session);
    (CreateChallenge { login_hint: Some(hint.to_owned()), return_url: None, ..body }, verifier)
}

async fn ask(shop: &Service, at: &Address, (body, verifier): (CreateChallenge, String)) -> Login {
    Login { challenge: shop.create(at, &body).await.is(201).ok(), verifier }
}

pub(crate) async fn step_up(shop: &Service, at: &Address, session: SessionId) -> Login {
    ask(shop, at, asking(shop, session)).await
}

/// What an exchange needs.
pub(crate) struct Approved {
    pub(crate) code: String,
    pub(crate) verifier: String,
    pub(crate) response_code: String,
}

/// Claims and approves a step-up.
pub(crate) async fn approved(shop: &Service, at: &Address, wallet: &Wallet, login: &Login) -> Approved {
    wallet.claim(at, login).await.is(200);
    let returned = wallet.approve_linked(at, &login.challenge).await;
    let (code, verifier) = (shop.code(at, login.id()).await, login.verifier.clone());
    Approved { code, verifier, response_code: returned.response_code.expose().to_owned() }
}

pub(crate) async fn exchange(shop: &Service, at: &Address, approved: &Approved) -> miid_e2e::Answer {
    shop.exchange_returned(at, &approved.code, &approved.verifier, &approved.response_code).await
}

/// A whole step-up.
pub(crate) async fn stepped_up(
    shop: &Service,
    at: &Address,
    wallet: &Wallet,
    session: SessionId,
) -> TokenResponse {
    let login = step_up(shop, at, session).await;
    let approved = approved(shop, at, wallet, &login).await;
    exchange(shop, at, &approved).await.is(200).ok()
}

/// What a token says.
pub(crate) fn payload(token: &str) -> Value {
    let payload = jws::decode(token.split('.').nth(1).expect("three parts")).expect("base64url");
    serde_json::from_slice(&payload).expect("JSON")
}

async fn sessions(shop: &Service, at: &Address) -> Vec<Value> {
    let list: ServiceSessionList = shop.get(at, paths::SERVICE_SESSIONS).await.ok();
    list.sessions.iter().map(|session| json!(session)).collect()
}

async fn a_step_up_gives_one_short_token_and_leaves_its_session_as_it_is(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let first = shop.sign_in(&gateway, &alice).await;
    let before = sessions(&shop, &gateway).await;
    let mut log = shop.events(&gateway, None, None).await;
    let mut wallet = alice.events(&gateway, None).await;

    let login = step_up(&shop, &gateway, first.session_id).await;
    let says = SignInRequest::parse(&login.challenge.request).unwrap();
    assert_eq!((says.risk, says.step_up_session), (Risk::StepUp, Some(first.session_id)));
    assert_eq!((says.binding_message.as_str(), says.scopes), ("Send 250 to Bob", vec!["profile".to_owned()]));
    assert!(alice.challenges(&gateway).await.is_empty(), "nobody is asked before the link is opened");
    let approved = approved(&shop, &gateway, &alice, &login).await;
    assert_eq!(alice.listed(&gateway, login.id()).await.unwrap().status, ChallengeStatus::Approved);
    let answer = exchange(&shop, &gateway, &approved).await;
    assert_eq!(answer.header(reqwest::header::CACHE_CONTROL), Some("no-store"));
    let body = answer.is(200).json();
    assert_eq!(body.get("refresh_token"), None, "the member is absent");
    assert_eq!((&body["acr"], &body["claims"]), (&json!("step_up"), &json!({})));
    let given: TokenResponse = answer.ok();
    assert_eq!((given.session_id, &given.sub, &given.did), (first.session_id, &first.sub, &first.did));
    assert_eq!(given.session_expires_at, first.session_expires_at);
    assert_eq!((given.scope.as_str(), given.claims_verified, given.expires_in), ("profile", false, 300));
    let says = payload(&given.access_token);
    assert_eq!((&says["acr"], &says["sid"]), (&json!("step_up"), &json!(first.session_id)));
    assert_eq!(says["auth_time"].as_i64(), given.auth_time);
    let since = says["iat"].as_i64().unwrap() - given.auth_time.unwrap();
    assert!((0..=20).contains(&since), "when the person approved: {since} s before");
    assert!(given.statement != first.statement && !given.statement.is_empty());

    let known = shop.introspect(&gateway, &given.access_token).await;
    assert_eq!((known.active, known.acr.as_deref()), (true, Some("step_up")));
    assert_eq!((known.auth_time, known.sid), (given.auth_time, Some(first.session_id)));
    let plain = shop.introspect(&gateway, &first.access_token).await;
    assert_eq!((plain.active, plain.acr, plain.auth_time), (true, None, None), "the other token goes on");
    assert_eq!(sessions(&shop, &gateway).await, before, "it is the same session, and was not used");
    let refreshed: TokenResponse = shop.refresh(&gateway, first.renewal()).await.ok();
    let says = payload(&refreshed.access_token);
    assert!(says.get("acr").is_none() && says.get("auth_time").is_none(), "{says}");

    // What both are told, and that no session was made or ended.
    let told = [log.next().await, log.next().await, log.next().await].map(Option::unwrap);
    let names = told.each_ref().map(|event| event.name.as_str());
    assert_eq!(names, ["challenge_claimed", "challenge_verified", "challenge_exchanged"]);
    assert_eq!(told[2].json()["session_id"], json!(first.session_id));
    let told = [wallet.next().await, wallet.next().await, wallet.next().await].map(Option::unwrap);
    let names = told.each_ref().map(|event| event.name.as_str());
    assert_eq!(names, ["challenge_created", "challenge_approved", "challenge_exchanged"]);
    assert!(alice.challenges(&gateway).await.is_empty());
    assert_eq!(alice.sessions(&gateway).await.len(), 1);
    assert_eq!(shop.challenge(&gateway, login.id()).await.status, ChallengeStatus::Active);
    // Whoever ends it through this token ends the session.
    shop.revoke(&gateway, &given.access_token).await.is(200);
    assert!(!shop.introspect(&gateway, &refreshed.access_token).await.active);
    assert_eq!(shop.challenge(&gateway, login.id()).await.status, ChallengeStatus::Revoked);
}

async fn what_is_asked_for_in_a_session_is_checked(world: World) {
    use ErrorCode::{InvalidRequest, InvalidScope};
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let session = shop.sign_in(&gateway, &alice).await.session_id;
    let did = alice.did().to_string();
    type Change = fn(&mut CreateChallenge);
    let cases: [(&str, ErrorCode, Change); 8] = [
        ("no session", InvalidRequest, |body| body.step_up_session = None),
        ("a session without the risk", InvalidRequest, |body| body.risk = Risk::Normal),
        ("no message", InvalidRequest, |body| body.binding_message = None),
        ("an empty message", InvalidRequest, |body| body.binding_message = Some(" ".into())),
        ("claims", InvalidRequest, |body| body.claims = vec!["name".into()]),
        ("a scope that the session has not", InvalidScope, |body| body.scopes = vec!["email".into()]),
        ("no scope at all", InvalidScope, |body| body.scopes = vec!["Not a scope".into()]),
        ("neither link nor hint", InvalidRequest, |body| body.return_url = None),
    ];
    for (what, code, change) in cases {
        let (mut body, _) = asking(&shop, session);
        change(&mut body);
        let answer = shop.create(&gateway, &body).await;
        assert_eq!(answer.problem().code, code, "{what}: {}", answer.text());
    }
    let (body, _) = asking_by(&shop, session, &did);
    shop.create(&gateway, &body).await.refused(InvalidRequest);
    // Fewer than the session's are what is asked, granted and said.
    let other = gateway.add_service("other-shop", &["--scopes", "read,pay"]).await;
    let (mut body, verifier) = other.asking(&did);
    body.scopes = vec!["read".into(), "pay".into()];
    let login = ask(&other, &gateway, (body, verifier)).await;
    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let session = other.finish(&gateway, &login).await.session_id;
    // Those of a session are asked for also when the service may not begin with them any more.
    gateway.run(&["service", "update", "other-shop", "--scopes", "read"]).await.ok();
    let (mut body, verifier) = asking(&other, session);
    body.scopes = vec!["pay".into()];
    let login = ask(&other, &gateway, (body, verifier)).await;
    let approved = approved(&other, &gateway, &alice, &login).await;
    let given: TokenResponse = exchange(&other, &gateway, &approved).await.ok();
    assert_eq!((given.scope.as_str(), &payload(&given.access_token)["scope"]), ("pay", &json!("pay")));
    assert_eq!(other.introspect(&gateway, &given.access_token).await.scope.as_deref(), Some("pay"));
    assert_eq!(sessions(&other, &gateway).await[0]["scopes"], json!(["read", "pay"]));
}

async fn a_session_that_is_over_foreign_or_unknown_is_not_found(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let other = gateway.add_service("other-shop", &[]).await;
    let alice = world.wallet();
    let own = shop.sign_in(&gateway, &alice).await.session_id;
    let foreign = other.sign_in(&gateway, &alice).await.session_id;
    let over = shop.sign_in(&gateway, &world.wallet()).await.session_id;
    shop.end_session(&gateway, over).await.is(204);
    let unknown = SessionId::parse("0198e0a0-0000-7000-8000-00000000000a").unwrap();
    let mut answers = Vec::new();
    for session in [foreign, over, unknown] {
        let answer = shop.create(&gateway, &asking(&shop, session).0).await;
        answer.refused(ErrorCode::SessionNotFound);
        answers.push(answer.text());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    other.create(&gateway, &asking(&other, own).0).await.refused(ErrorCode::SessionNotFound);
    // And what one service has asked for, another neither sees nor exchanges.
    let login = step_up(&shop, &gateway, own).await;
    let approved = approved(&shop, &gateway, &alice, &login).await;
    let by_id = paths::with_id(paths::CHALLENGE_BY_ID, login.id());
    other.get(&gateway, &by_id).await.refused(ErrorCode::ChallengeNotFound);
    exchange(&other, &gateway, &approved).await.refused(ErrorCode::InvalidGrant);
    exchange(&shop, &gateway, &approved).await.is(200);
}

async fn only_the_sessions_own_person_takes_the_link(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (alice, mallory) = (world.wallet(), world.wallet());
    let session = shop.sign_in(&gateway, &alice).await.session_id;
    // Somebody else at the same service.
    shop.sign_in(&gateway, &mallory).await;
    let login = step_up(&shop, &gateway, session).await;
    let seen = shop.challenge(&gateway, login.id()).await;
    let secret = login.link().secret;
    mallory.claim_with(&gateway, login.id(), "miid_ls_wrong").await.refused(ErrorCode::ChallengeNotFound);
    for _ in 0..2 {
        let answer = mallory.claim_with(&gateway, login.id(), secret.expose()).await;
        answer.refused(ErrorCode::DidMismatch);
        assert!(!answer.text().contains("did:key"), "whose it is, nobody else learns");
    }
    mallory.try_approve_linked(&gateway, &login.challenge).await.refused(ErrorCode::ChallengeNotFound);
    assert!(mallory.challenges(&gateway).await.is_empty());
    assert_eq!(shop.challenge(&gateway, login.id()).await, seen, "nothing changed");
    let approved = approved(&shop, &gateway, &alice, &login).await;
    mallory.claim_with(&gateway, login.id(), secret.expose()).await.refused(ErrorCode::DidMismatch);
    let given: TokenResponse = exchange(&shop, &gateway, &approved).await.is(200).ok();
    assert_eq!(given.did, *alice.did());
    mallory.claim_with(&gateway, login.id(), secret.expose()).await.refused(ErrorCode::DidMismatch);
}

async fn an_addressed_step_up_is_for_who_the_session_is(world: World) {
    let gateway = world.gateway(&[]).await;
    let shop = gateway.add_service("demo-shop", &["--step-up", "any"]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    alice.claim_handle(&gateway, "alice").await.is(200);
    bob.claim_handle(&gateway, "bobby").await.is(200);
    let session = shop.sign_in(&gateway, &alice).await.session_id;
    shop.sign_in(&gateway, &bob).await;
    for hint in [bob.did().as_str(), "bobby", "nobody-here"] {
        let (body, _) = asking_by(&shop, session, hint);
        shop.create(&gateway, &body).await.refused(ErrorCode::InvalidRequest);
    }
    assert!(bob.challenges(&gateway).await.is_empty(), "nobody else is asked");
    for hint in [alice.did().as_str(), "alice", "@Alice"] {
        let login = ask(&shop, &gateway, asking_by(&shop, session, hint)).await;
        alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
        let given: TokenResponse = shop.finish(&gateway, &login).await;
        assert_eq!((given.session_id, given.acr.as_deref()), (session, Some("step_up")));
        assert!(given.refresh_token.is_none());
    }
    let login = ask(&shop, &gateway, asking_by(&shop, session, "alice")).await;
    let wrong = alice.approve(&gateway, &login.challenge, login.wrong_number()).await;
    wrong.refused(ErrorCode::WrongMatchCode);
    assert_eq!(shop.challenge(&gateway, login.id()).await.status, ChallengeStatus::Denied);
    assert_eq!(alice.sessions(&gateway).await.len(), 1, "a wrong number ends no session");
    // It counts as one of a browser that is known: strangers do not use up its room.
    for _ in 0..3 {
        shop.login(&gateway, "alice").await;
    }
    shop.create(&gateway, &shop.asking("alice").0).await.refused(ErrorCode::TooManyChallenges);
    ask(&shop, &gateway, asking_by(&shop, session, "alice")).await;
    // And linked stays possible.
    step_up(&shop, &gateway, session).await;
}

async fn three_step_ups_are_pending_in_a_session_at_most(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let session = shop.sign_in(&gateway, &alice).await.session_id;
    let bobs = shop.sign_in(&gateway, &bob).await.session_id;
    let bodies: Vec<_> = (0..8).map(|_| asking(&shop, session).0).collect();
    let answers = join_all(bodies.iter().map(|body| shop.create(&gateway, body))).await;
    let opened: Vec<Challenge> =
        answers.iter().filter(|answer| answer.status == 201).map(miid_e2e::Answer::ok).collect();
    assert_eq!(opened.len(), 3);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.refused(ErrorCode::TooManyChallenges);
    }
    step_up(&shop, &gateway, bobs).await;
    // A page that begins again names what it began, and that makes room.
    let (body, _) = asking(&shop, session);
    let body = CreateChallenge { replaces: Some(opened[0].challenge_id.to_string()), ..body };
    shop.create(&gateway, &body).await.is(201);
    shop.create(&gateway, &asking(&shop, session).0).await.refused(ErrorCode::TooManyChallenges);
    shop.withdraw(&gateway, opened[1].challenge_id, None).await.is(200);
    step_up(&shop, &gateway, session).await;
}

async fn the_same_step_up_again_is_the_same_also_when_its_session_ended(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let session = shop.sign_in(&gateway, &alice).await.session_id;
    let (body, _) = asking(&shop, session);
    let answers = join_all((0..6).map(|_| shop.create(&gateway, &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| answer.json() == answers[0].json()));
    let first: Challenge = answers[0].ok();
    shop.end_session(&gateway, session).await.is(204);
    let again: Challenge = shop.create(&gateway, &body).await.is(200).ok();
    assert_eq!((again.challenge_id, again.status), (first.challenge_id, ChallengeStatus::Expired));
    assert_eq!(again.reason, Some(ENDED));
    shop.create(&gateway, &asking(&shop, session).0).await.refused(ErrorCode::SessionNotFound);
}

async fn a_step_up_and_a_sign_in_do_not_stand_for_one_another(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let session = shop.sign_in(&gateway, &alice).await.session_id;
    let step = step_up(&shop, &gateway, session).await;
    let sign_in = shop.linked(&gateway).await;
    for login in [&step, &sign_in] {
        alice.claim(&gateway, login).await.is(200);
    }
    // What was signed for one is nothing for the other, whichever way.
    for (signed, sent) in [(&step, &sign_in), (&sign_in, &step)] {
        let statement = alice.approval(&gateway, &signed.challenge.request, None);
        let body = json!({"statement": statement});
        let answer = alice.post(&gateway, &paths::approve(sent.id()), &body).await;
        answer.refused(ErrorCode::InvalidStatement);
    }
    let mut codes = Vec::new();
    for login in [&step, &sign_in] {
        let returned = alice.approve_linked(&gateway, &login.challenge).await;
        codes.push((shop.code(&gateway, login.id()).await, returned.response_code.expose().to_owned()));
    }
    let tried = |code: usize, response: usize, login: &Login| {
        let (code, response, verifier) =
            (codes[code].0.clone(), codes[response].1.clone(), login.verifier.clone());
        let (shop, gateway) = (shop.clone(), &gateway);
        async move { shop.exchange_returned(gateway, &code, &verifier, &response).await }
    };
    tried(0, 0, &sign_in).await.refused(ErrorCode::InvalidGrant);
    tried(1, 1, &step).await.refused(ErrorCode::InvalidGrant);
    tried(0, 1, &step).await.refused(ErrorCode::WrongResponseCode);
    tried(1, 0, &sign_in).await.refused(ErrorCode::WrongResponseCode);
    // Both are untouched by that, and each gives what it is for.
    let given: TokenResponse = tried(0, 0, &step).await.is(200).ok();
    assert_eq!((given.session_id, given.acr.as_deref()), (session, Some("step_up")));
    assert!(given.refresh_token.is_none());
    let given: TokenResponse = tried(1, 1, &sign_in).await.is(200).ok();
    assert!(given.session_id != session && given.acr.is_none() && given.auth_time.is_none());
    assert!(payload(&given.access_token).get("acr").is_none());
    // A code is no refresh token, and there is none to be had of the step-up.
    shop.refresh(&gateway, &codes[0].0).await.refused(ErrorCode::InvalidGrant);
}

async fn how_a_service_may_ask_is_part_of_its_registration(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let session = shop.sign_in(&gateway, &alice).await.session_id;
    let listed = |text: &str| -> Value {
        let list: Value = serde_json::from_str(text).unwrap();
        list[0]["step_up"].clone()
    };
    assert_eq!(listed(&gateway.run(&["service", "list", "--json"]).await.ok()), "linked");
    let hint = alice.did().to_string();
    shop.create(&gateway, &asking_by(&shop, session, &hint).0).await.refused(ErrorCode::InvalidRequest);
    let said = gateway.run(&["service", "update", "demo-shop", "--step-up", "any"]).await.ok();
    assert!(said.contains("step_up         any"), "{said}");
    assert_eq!(listed(&gateway.run(&["service", "list", "--json"]).await.ok()), "any");
    miid_e2e::eventually("the running gateway takes it over", || async {
        (shop.create(&gateway, &asking_by(&shop, session, &hint).0).await.status == 201).then_some(())
    })
    .await;
    // Where the service names nobody at all, it names nobody in a step-up either.
    let words = ["service", "update", "demo-shop", "--binding", "linked"];
    gateway.run(&words).await.ok();
    miid_e2e::eventually("the running gateway takes it over", || async {
        let answer = shop.create(&gateway, &asking_by(&shop, session, &hint).0).await;
        if answer.status == 201 {
            let opened: Challenge = answer.ok();
            shop.withdraw(&gateway, opened.challenge_id, None).await.is(200);
            return None;
        }
        answer.refused(ErrorCode::InvalidRequest);
        Some(())
    })
    .await;
    step_up(&shop, &gateway, session).await;
}

async fn a_step_up_crosses_between_two_gateways(world: World) {
    let (a, shop) = world.gateway_and_service(&[]).await;
    let b = a.another("gateway-b").await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&a, &alice).await;
    let login = step_up(&shop, &b, tokens.session_id).await;
    alice.claim(&a, &login).await.is(200);
    let returned = alice.approve_linked(&b, &login.challenge).await;
    let approved = Approved {
        code: shop.code(&a, login.id()).await,
        verifier: login.verifier.clone(),
        response_code: returned.response_code.expose().to_owned(),
    };
    let given: TokenResponse = exchange(&shop, &b, &approved).await.is(200).ok();
    assert!(shop.introspect(&a, &given.access_token).await.active);
    // The same code at both at once: one is a second use, and then nothing of the session lives.
    let login = step_up(&shop, &a, tokens.session_id).await;
    let approved = self::approved(&shop, &a, &alice, &login).await;
    let (one, other) = join(exchange(&shop, &a, &approved), exchange(&shop, &b, &approved)).await;
    assert_eq!([one.status, other.status].iter().filter(|status| **status == 200).count(), 1);
    for at in [&a, &b] {
        assert!(!shop.introspect(at, &tokens.access_token).await.active);
    }
    // Ended at one while it is answered and exchanged at the other.
    for round in 0..8 {
        let alice = world.wallet();
        let session = shop.sign_in(&a, &alice).await.session_id;
        let pending = step_up(&shop, &a, session).await;
        alice.claim(&b, &pending).await.is(200);
        let waiting = step_up(&shop, &b, session).await;
        let approved = self::approved(&shop, &a, &alice, &waiting).await;
        let late = asking(&shop, session).0;
        let (ended, answers) = join(
            shop.end_session(&b, session),
            join(
                join(alice.try_approve_linked(&a, &pending.challenge), exchange(&shop, &a, &approved)),
                shop.create(&a, &late),
            ),
        )
        .await;
        ended.is(204);
        let ((_, exchanged), created) = answers;
        let mut ids = vec![pending.id()];
        if exchanged.status == 200 {
            assert_eq!(shop.challenge(&a, waiting.id()).await.status, ChallengeStatus::Revoked);
        } else {
            ids.push(waiting.id());
        }
        if created.status == 201 {
            ids.push(created.ok::<Challenge>().challenge_id);
        } else {
            created.refused(ErrorCode::SessionNotFound);
        }
        for id in ids {
            let now = shop.challenge(&a, id).await;
            assert_eq!((now.status, now.reason), (ChallengeStatus::Expired, Some(ENDED)), "round {round}");
        }
    }
}
