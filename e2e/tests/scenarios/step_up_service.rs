//! A large transfer asks the person once more: the step-up, from the page to the wallet and back. It adds a token to
//! its session, for a while and for that session's browser alone, and changes nothing else.

use miid_e2e::demo::Change;
use miid_e2e::{Answer, Browser, Demo, Wallet, World, eventually, on_both, on_postgres, on_sqlite};
use miid_protocol::browser::{LoginStatus, SessionInfo, StartResponse};
use miid_protocol::link::Returned;
use miid_protocol::request::SignInRequest;
use miid_protocol::service::{Binding, ChallengeStatus, DenyReason, EndReason, ExpireReason, Risk};
use miid_protocol::{ErrorCode, paths};
use reqwest::Method;
use serde_json::json;

use crate::edge::refused;
use crate::linked_browser::{approved, claim, made_up};
use crate::sign_in::{is_active, reaches, sign_in};
use crate::transfer::{TRANSFER, balance, no_token_in, transfer, with_a_page};

on_both!(
    a_large_transfer_asks_in_the_wallet_and_then_works,
    a_step_up_ends_with_its_session,
    only_the_browser_of_that_very_session_completes_a_step_up,
);
on_sqlite!(
    a_step_up_is_over_after_a_while,
    a_step_up_is_too_old_for_the_edge_after_a_while,
    a_step_up_that_was_denied_leaves_everything_as_it_was,
    a_step_up_that_comes_back_elsewhere_steps_nobody_up,
    asking_again_ends_what_this_session_still_waits_for,
    a_step_up_is_finished_by_our_own_page_only,
    an_addressed_step_up_is_not_for_every_service,
    an_addressed_step_up_needs_the_number_of_the_page,
    somebody_else_cannot_approve,
    a_step_up_that_was_under_way_when_the_shop_was_killed_is_asked_for_again,
    no_secret_of_a_step_up_lies_about,
);
on_postgres!(a_step_up_is_finished_through_another_instance);

/// A large transfer that asks; what the page is told of it.
pub(crate) async fn asks(browser: &Browser) -> StartResponse {
    asked(&transfer(browser, 250).await)
}

#[track_caller]
fn asked(answer: &Answer) -> StartResponse {
    refused(answer, 401, "step_up_required", "");
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).expect("a problem document");
    serde_json::from_value(problem["step_up"].clone()).expect("the object of /auth/start")
}

/// Approves in the wallet, and comes back.
async fn approve(demo: &Demo, alice: &Wallet, browser: &Browser, started: &StartResponse) -> Returned {
    claim(&demo.gateway, alice, started).await;
    let back = approved(&demo.gateway, &demo.shop, alice, started).await;
    let returned: LoginStatus = browser.come_back(&back).await.is(200).ok();
    assert_eq!(returned.status, ChallengeStatus::Active);
    back
}

/// All of it.
async fn step_up(demo: &Demo, alice: &Wallet, browser: &Browser) -> SessionInfo {
    let started = asks(browser).await;
    approve(demo, alice, browser, &started).await;
    browser.complete(started.challenge_id).await.is(200).ok()
}

async fn is_not_stepped_up(browser: &Browser) {
    assert_eq!(browser.session().await.stepped_up_until, None);
    asks(browser).await;
}

async fn a_large_transfer_asks_in_the_wallet_and_then_works(world: World) {
    let (demo, alice, browser, _page) = with_a_page(&world, Change::default()).await;
    let (session, sid, known) = (browser.session().await, browser.cookie("sid"), browser.cookie("known"));
    let before = balance(&browser).await;
    let answer = transfer(&browser, 250).await;
    let started = asked(&answer);
    assert_eq!((started.binding, started.status), (Binding::Linked, ChallengeStatus::Pending));
    assert_eq!(balance(&browser).await, before, "nothing was sent");
    let cookie = answer.header(reqwest::header::SET_COOKIE).expect("a cookie").to_owned();
    assert!(cookie.starts_with(&format!("login-{}=", started.challenge_id)), "{cookie}");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");

    // The wallet shows that it is one, and for what.
    let request = claim(&demo.gateway, &alice, &started).await;
    let request = SignInRequest::parse(&request).expect("a request");
    assert_eq!(request.risk, Risk::StepUp);
    assert_eq!(request.binding_message, "Send 250 to Bob");
    assert!(request.claims.is_empty(), "nothing new is asked to be shared");
    let back = approved(&demo.gateway, &demo.shop, &alice, &started).await;
    browser.complete(started.challenge_id).await.refused(ErrorCode::NotActiveYet);
    let returned: LoginStatus = browser.come_back(&back).await.is(200).ok();
    assert_eq!((returned.status, returned.did.as_ref()), (ChallengeStatus::Active, Some(alice.did())));
    assert_eq!(browser.session().await.stepped_up_until, None, "not before it is completed");

    // Completed, by both tabs: the same session, the same cookies.
    for _ in 0..2 {
        let completed = browser.complete(started.challenge_id).await;
        no_token_in(&completed);
        assert_eq!(completed.header(reqwest::header::SET_COOKIE), None);
        let stepped_up: SessionInfo = completed.is(200).ok();
        assert!(stepped_up.stepped_up_until.is_some());
        assert_eq!(SessionInfo { stepped_up_until: None, ..stepped_up.clone() }, session);
        assert_eq!(browser.session().await, stepped_up);
    }
    let done = transfer(&browser, 250).await.is(200).json();
    assert_eq!(done["balance"], json!(before - 250));
    transfer(&browser, 100).await.is(200);
    transfer(&browser, 99).await.is(200);
    assert_eq!(balance(&browser).await, before - 449);
    assert_eq!((browser.cookie("sid"), browser.cookie("known")), (sid, known));
    let sessions = alice.sessions(&demo.gateway).await;
    assert_eq!(sessions.iter().map(|one| one.session_id).collect::<Vec<_>>(), [session.session_id]);

    // It is this browser's alone: the next sign-in begins without it.
    let elsewhere = world.browser(&demo.shop);
    sign_in(&demo.gateway, &elsewhere, &alice).await;
    assert_eq!(elsewhere.session().await.stepped_up_until, None);
    assert!(!browser.is_signed_in().await);
}

async fn a_step_up_ends_with_its_session(world: World) {
    let (demo, alice, browser, mut page) = with_a_page(&world, Change::default()).await;
    let session = browser.session().await;
    let reason = Some(EndReason::Expired(ExpireReason::SessionEnded));
    // One that waits for the person, in the next session one that is approved, and one that has been completed.
    let pending = asks(&browser).await;
    claim(&demo.gateway, &alice, &pending).await;
    let mut watched = browser.stream(pending.challenge_id).await;
    alice.revoke(&demo.gateway, "demo-shop", session.session_id).await.is(200);
    page.expect("force_logout").await;
    let told: LoginStatus = watched.expect("expired").await.parse();
    assert_eq!(told.reason, reason);
    assert!(alice.listed(&demo.gateway, pending.challenge_id).await.is_none(), "the wallet asks no more");
    browser.complete(pending.challenge_id).await.refused(ErrorCode::NotAuthenticated);
    transfer(&browser, 250).await.refused(ErrorCode::NotAuthenticated);

    sign_in(&demo.gateway, &browser, &alice).await;
    let session = browser.session().await;
    let _page = crate::transfer::open(&demo, &browser).await;
    let started = asks(&browser).await;
    claim(&demo.gateway, &alice, &started).await;
    let back = approved(&demo.gateway, &demo.shop, &alice, &started).await;
    alice.revoke(&demo.gateway, "demo-shop", session.session_id).await.is(200);
    let seen = reaches(&browser, &started, ChallengeStatus::Expired).await;
    assert_eq!(seen.reason, reason);
    let late: LoginStatus = browser.come_back(&back).await.is(200).ok();
    assert_eq!((late.status, late.reason), (ChallengeStatus::Expired, reason));
    browser.complete(started.challenge_id).await.refused(ErrorCode::NotAuthenticated);

    // Signing out ends it at once, whatever the gateway has heard by then.
    sign_in(&demo.gateway, &browser, &alice).await;
    let _page = crate::transfer::open(&demo, &browser).await;
    let waiting = asks(&browser).await;
    browser.logout().await.is(204);
    assert_eq!(browser.status(waiting.challenge_id).await.reason, reason);
    // And one that was completed is over with its session.
    sign_in(&demo.gateway, &browser, &alice).await;
    let page = crate::transfer::open(&demo, &browser).await;
    let stepped_up = step_up(&demo, &alice, &browser).await;
    transfer(&browser, 250).await.is(200);
    alice.revoke(&demo.gateway, "demo-shop", stepped_up.session_id).await.is(200);
    drop(page);
    eventually("the session is over", || async { (!browser.is_signed_in().await).then_some(()) }).await;
    transfer(&browser, 250).await.refused(ErrorCode::NotAuthenticated);
}

async fn only_the_browser_of_that_very_session_completes_a_step_up(world: World) {
    let (demo, alice, browser, _page) =
        with_a_page(&world, Change { registration: &["--session-policy", "multiple"], ..Change::default() })
            .await;
    let started = asks(&browser).await;
    approve(&demo, &alice, &browser, &started).await;
    let login = format!("login-{}", started.challenge_id);
    let cookie = browser.cookie(&login).expect("the login cookie");

    // Nobody is signed in there; somebody else is; the same person is, in another session.
    let (nobody, mallory, other) =
        (world.browser(&demo.shop), world.browser(&demo.shop), world.browser(&demo.shop));
    sign_in(&demo.gateway, &mallory, &world.wallet()).await;
    sign_in(&demo.gateway, &other, &alice).await;
    for stranger in [&nobody, &mallory, &other] {
        stranger.complete(started.challenge_id).await.refused(ErrorCode::ChallengeNotFound);
        stranger.plant_cookie(&login, &cookie, "/auth");
        stranger.complete(started.challenge_id).await.refused(ErrorCode::NotAuthenticated);
    }
    for stranger in [&mallory, &other] {
        assert_eq!(stranger.session().await.stepped_up_until, None);
    }
    // The session alone does not do, either.
    browser.forget_cookie(&login);
    browser.complete(started.challenge_id).await.refused(ErrorCode::ChallengeNotFound);
    assert_eq!(browser.session().await.stepped_up_until, None);
    browser.plant_cookie(&login, &cookie, "/auth");
    browser.complete(started.challenge_id).await.is(200);
    transfer(&browser, 250).await.is(200);
    for stranger in [&mallory, &other] {
        assert_eq!(stranger.session().await.stepped_up_until, None, "it is that session's alone");
    }
}

async fn a_step_up_is_over_after_a_while(world: World) {
    let change = Change { gateway: &["--step-up-ttl", "6s"], ..Change::default() };
    let (demo, alice, browser, _page) = with_a_page(&world, change).await;
    let stepped_up = step_up(&demo, &alice, &browser).await;
    transfer(&browser, 250).await.is(200);
    assert!(stepped_up.stepped_up_until.is_some());
    eventually("its time is over", || async {
        browser.session().await.stepped_up_until.is_none().then_some(())
    })
    .await;
    let started = asks(&browser).await;
    transfer(&browser, 25).await.is(200);
    // Once more, and it works once more.
    approve(&demo, &alice, &browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
    transfer(&browser, 250).await.is(200);
}

async fn a_step_up_is_too_old_for_the_edge_after_a_while(world: World) {
    let change = Change { step_up: Some("6s"), ..Change::default() };
    let (demo, alice, browser, _page) = with_a_page(&world, change).await;
    let stepped_up = step_up(&demo, &alice, &browser).await;
    transfer(&browser, 250).await.is(200);
    // More than anybody has: what passes the edge is refused behind it, and changes nothing.
    let answer = eventually("the edge asks for a fresh one", || async {
        let answer = transfer(&browser, 1_000_000).await;
        (answer.status != 409).then_some(answer)
    })
    .await;
    asked(&answer);
    assert_eq!(browser.session().await, stepped_up, "the token itself would still count");
}

async fn a_step_up_that_was_denied_leaves_everything_as_it_was(world: World) {
    let (demo, alice, browser, _page) = with_a_page(&world, Change::default()).await;
    let session = browser.session().await;
    for reason in [DenyReason::Declined, DenyReason::NotMe] {
        let started = asks(&browser).await;
        claim(&demo.gateway, &alice, &started).await;
        let challenge = demo.shop.service().challenge(&demo.gateway, started.challenge_id).await;
        alice.deny(&demo.gateway, &challenge, reason).await.is(200);
        if reason == DenyReason::Declined {
            let seen = reaches(&browser, &started, ChallengeStatus::Denied).await;
            assert_eq!(seen.reason, Some(EndReason::Denied(reason)));
            browser.complete(started.challenge_id).await.refused(ErrorCode::ChallengeNotApproved);
        } else {
            browser.complete(started.challenge_id).await.refused(ErrorCode::NotActiveYet);
        }
    }
    let given_up = asks(&browser).await;
    browser.post(&paths::with_id(paths::AUTH_CANCEL, given_up.challenge_id), None).await.is(204);
    browser.complete(given_up.challenge_id).await.refused(ErrorCode::ChallengeExpired);
    assert_eq!(browser.session().await, session);
    transfer(&browser, 25).await.is(200);
    is_not_stepped_up(&browser).await;
}

async fn a_step_up_that_comes_back_elsewhere_steps_nobody_up(world: World) {
    let (demo, alice, browser, _page) = with_a_page(&world, Change::default()).await;
    let session = browser.session().await;
    let elsewhere = world.browser(&demo.shop);
    let started = asks(&browser).await;
    claim(&demo.gateway, &alice, &started).await;
    let back = approved(&demo.gateway, &demo.shop, &alice, &started).await;
    browser.come_back(&made_up(&back)).await.refused(ErrorCode::WrongResponseCode);
    elsewhere.come_back(&made_up(&back)).await.refused(ErrorCode::ChallengeNotFound);
    let stopped: LoginStatus = elsewhere.come_back(&back).await.is(200).ok();
    assert_eq!(stopped.reason, Some(EndReason::Expired(ExpireReason::OtherBrowser)));
    browser.come_back(&back).await.is(200);
    browser.complete(started.challenge_id).await.refused(ErrorCode::ChallengeExpired);
    assert_eq!(browser.session().await, session, "the session itself goes on");
    is_not_stepped_up(&browser).await;
}

async fn asking_again_ends_what_this_session_still_waits_for(world: World) {
    let (demo, alice, browser, _page) = with_a_page(&world, Change::default()).await;
    let mut last = asks(&browser).await;
    // More often than may wait for one session.
    for _ in 0..5 {
        let next = asks(&browser).await;
        let seen = reaches(&browser, &last, ChallengeStatus::Expired).await;
        assert_eq!(seen.reason, Some(EndReason::Expired(ExpireReason::Replaced)));
        last = next;
    }
    // A sign-in that begins beside it does not end it, nor the other way round.
    let beside = browser.start_linked().await;
    assert_eq!(browser.status(last.challenge_id).await.status, ChallengeStatus::Pending);
    let last = asks(&browser).await;
    assert_eq!(browser.status(beside.challenge_id).await.status, ChallengeStatus::Pending);
    approve(&demo, &alice, &browser, &last).await;
    browser.complete(last.challenge_id).await.is(200);
    transfer(&browser, 250).await.is(200);
}

async fn a_step_up_is_finished_by_our_own_page_only(world: World) {
    let (demo, alice, browser, _page) = with_a_page(&world, Change::default()).await;
    let started = asks(&browser).await;
    claim(&demo.gateway, &alice, &started).await;
    let back = approved(&demo.gateway, &demo.shop, &alice, &started).await;
    let complete = paths::with_id(paths::AUTH_COMPLETE, started.challenge_id);
    let return_body = json!({"challenge_id": started.challenge_id,
        "response_code": back.response_code.expose(), "iss": demo.gateway.issuer});
    let from_evil = |path: &str, origin: Option<&str>| {
        let request = browser.request(Method::POST, path);
        match origin {
            Some(origin) => request.header("Origin", origin),
            None => request,
        }
    };
    for origin in [Some("http://evil.example"), Some("null"), None] {
        let request = from_evil(paths::AUTH_RETURN, origin).json(&return_body);
        browser.send(request).await.refused(ErrorCode::CrossSiteRequest);
    }
    browser.come_back(&back).await.is(200);
    for origin in [Some("http://evil.example"), Some("null"), None] {
        browser.send(from_evil(&complete, origin)).await.refused(ErrorCode::CrossSiteRequest);
        let request = from_evil(TRANSFER, origin).json(&json!({"to": "Eve", "amount": 250}));
        browser.send(request).await.refused(ErrorCode::CrossSiteRequest);
    }
    assert_eq!(browser.session().await.stepped_up_until, None);
    browser.complete(started.challenge_id).await.is(200);
    let before = balance(&browser).await;
    let request = from_evil(TRANSFER, Some("http://evil.example"));
    let request = request.json(&json!({"to": "Eve", "amount": 250}));
    browser.send(request).await.refused(ErrorCode::CrossSiteRequest);
    assert_eq!(balance(&browser).await, before, "a step-up is no reason to believe another site");
}

/// The way in which they signed in, which is by their DID in these scenarios.
const AS_SIGNED_IN: &[&str] = &["--step-up", "any"];

async fn an_addressed_step_up_is_not_for_every_service(world: World) {
    let change = Change { shop: AS_SIGNED_IN, ..Change::default() };
    let (mut demo, _alice, browser, _page) = with_a_page(&world, change).await;
    transfer(&browser, 250).await.refused(ErrorCode::GatewayUnavailable);
    let told = demo.shop.program().errors();
    assert!(told.contains("miid-gateway service update demo-shop --step-up any"), "{told}");
    transfer(&browser, 25).await.is(200);
}

async fn an_addressed_step_up_needs_the_number_of_the_page(world: World) {
    let change = Change { shop: AS_SIGNED_IN, registration: &["--step-up", "any"], ..Change::default() };
    let (demo, alice, browser, _page) = with_a_page(&world, change).await;
    let started = asks(&browser).await;
    assert_eq!((started.binding, &started.wallet_link), (Binding::Addressed, &None));
    let number = started.match_code.clone().expect("a number");
    let listed = alice.listed(&demo.gateway, started.challenge_id).await.expect("the wallet's list shows it");
    alice.approve_sharing(&demo.gateway, &listed.request, &number, &[]).await.is(200);
    is_active(&browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
    transfer(&browser, 250).await.is(200);

    // A wrong number denies it, and nothing else.
    let session = browser.session().await;
    let again = world.browser(&demo.shop);
    sign_in(&demo.gateway, &again, &alice).await;
    assert_ne!(again.session().await.session_id, session.session_id);
    let _page = crate::transfer::open(&demo, &again).await;
    let started = asks(&again).await;
    let listed = alice.listed(&demo.gateway, started.challenge_id).await.expect("the wallet's list shows it");
    let wrong = if started.match_code.as_deref() == Some("47") { "74" } else { "47" };
    let answer = alice.approve_sharing(&demo.gateway, &listed.request, wrong, &[]).await;
    answer.refused(ErrorCode::WrongMatchCode);
    reaches(&again, &started, ChallengeStatus::Denied).await;
    again.complete(started.challenge_id).await.refused(ErrorCode::ChallengeNotApproved);
    assert!(again.is_signed_in().await);
}

async fn somebody_else_cannot_approve(world: World) {
    let (demo, alice, browser, _page) = with_a_page(&world, Change::default()).await;
    let mallory = world.wallet();
    let started = asks(&browser).await;
    let link = started.wallet_link.as_deref().expect("a link");
    let link = miid_protocol::link::WalletLink::parse(link).expect("it is one");
    let claimed = mallory.claim_with(&demo.gateway, link.challenge_id, link.secret.expose()).await;
    claimed.refused(ErrorCode::DidMismatch);
    assert_eq!(browser.status(started.challenge_id).await.status, ChallengeStatus::Pending);
    approve(&demo, &alice, &browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
    transfer(&browser, 250).await.is(200);
}

async fn a_step_up_that_was_under_way_when_the_shop_was_killed_is_asked_for_again(world: World) {
    let (mut demo, alice, browser, page) = with_a_page(&world, Change::default()).await;
    let session = browser.session().await;
    let started = asks(&browser).await;
    claim(&demo.gateway, &alice, &started).await;
    let back = approved(&demo.gateway, &demo.shop, &alice, &started).await;
    // Killed at some point of coming back, most often between the exchange's first byte and its last.
    let coming = browser.clone();
    let body = json!({"challenge_id": started.challenge_id, "response_code": back.response_code.expose(),
        "iss": demo.gateway.issuer});
    let request = coming.request(Method::POST, paths::AUTH_RETURN).header("Origin", demo.shop.origin());
    let coming = tokio::spawn(async move { request.json(&body).send().await.is_ok() });
    let service = demo.shop.service().clone();
    eventually("the browser is back, or the exchange is done", || async {
        let challenge = service.challenge(&demo.gateway, started.challenge_id).await;
        (challenge.status == ChallengeStatus::Active).then_some(())
    })
    .await;
    demo.shop.kill();
    let _ = coming.await;
    drop(page);
    demo.shop.restart().await;

    // Whatever became of it: the session goes on, and the person can be asked again.
    assert_eq!(browser.session().await, SessionInfo { stepped_up_until: None, ..session });
    let status = eventually("it has been decided", || async {
        let now = browser.status(started.challenge_id).await;
        (now.status != ChallengeStatus::Approved && now.status != ChallengeStatus::Pending).then_some(now)
    })
    .await;
    if status.status == ChallengeStatus::Active {
        browser.complete(started.challenge_id).await.is(200);
    } else {
        assert_eq!(status.reason, Some(EndReason::Expired(ExpireReason::Withdrawn)));
        browser.complete(started.challenge_id).await.refused(ErrorCode::ChallengeExpired);
    }
    let _page = crate::transfer::open(&demo, &browser).await;
    if status.status != ChallengeStatus::Active {
        step_up(&demo, &alice, &browser).await;
    }
    transfer(&browser, 250).await.is(200);
    assert_eq!(alice.sessions(&demo.gateway).await.len(), 1);
}

async fn no_secret_of_a_step_up_lies_about(world: World) {
    let (demo, alice, browser, _page) = with_a_page(&world, Change::default()).await;
    let waiting = asks(&browser).await;
    claim(&demo.gateway, &alice, &waiting).await;
    let _back = approved(&demo.gateway, &demo.shop, &alice, &waiting).await;
    world.keeps_its_secrets();
    step_up(&demo, &alice, &browser).await;
    transfer(&browser, 250).await.is(200);
    world.keeps_its_secrets();
    world.keeps_its_secrets_in_dumps().await;
    // Nor does an access token, which no browser and no scenario ever sees: each begins like any JWT of ours.
    let token = miid_protocol::jws::encode(br#"{"typ":"at+jwt""#);
    for entry in std::fs::read_dir(world.folder()).expect("a folder").flatten() {
        let text = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap_or_default()).into_owned();
        assert!(!text.contains(&token[..16]), "a token in {}", entry.path().display());
    }
}

async fn a_step_up_is_finished_through_another_instance(world: World) {
    let (demo, alice, browser, _page) = with_a_page(&world, Change::default()).await;
    let second = demo.shop.another("second-shop").await;
    let elsewhere = browser.through(second.instance());
    let started = asks(&browser).await;
    approve(&demo, &alice, &elsewhere, &started).await;
    elsewhere.complete(started.challenge_id).await.is(200);
    transfer(&browser, 250).await.is(200);
    transfer(&elsewhere, 250).await.is(200);
    let session = browser.session().await;
    alice.revoke(&demo.gateway, "demo-shop", session.session_id).await.is(200);
    for tab in [&browser, &elsewhere] {
        eventually("it is over everywhere", || async { (!tab.is_signed_in().await).then_some(()) }).await;
        transfer(tab, 250).await.refused(ErrorCode::NotAuthenticated);
    }
}
