use std::num::NonZeroU32;

use miid_protocol::problem::ErrorCode;
use miid_protocol::service::ChallengeStatus;

use crate::gateway::did;
use crate::world::World;

#[tokio::test]
async fn only_what_this_browser_holds_is_replaced() {
    let world = World::new().await;
    let mut owner = world.browser();
    let first = owner.start("alice").await;
    let mut stranger = world.browser();
    for _ in 0..5 {
        stranger.start("alice").await;
    }
    // A cookie with a wrong secret names nothing.
    stranger.cookies.clear();
    let foreign = owner.cookies[&format!("login-{first}")].replace("miid_ln_", "miid_ln_x");
    stranger.cookies.insert(format!("login-{first}"), foreign);
    stranger.start("alice").await;
    assert!(!world.gateway.book().created.iter().any(|asked| asked.replaces == Some(first.to_string())));
    assert_eq!(owner.status(first).await.status, ChallengeStatus::Pending);

    let mut stream = owner.watch_login(first).await;
    owner.start("alice").await;
    let asked = world.gateway.book().created.last().cloned().expect("asked");
    assert_eq!(asked.replaces, Some(first.to_string()));
    assert_eq!(stream.until("expired").await.data["reason"], "replaced");
}

#[tokio::test]
async fn a_browser_is_known_as_whom_it_signed_in_and_as_nobody_else() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.sign_in(&world.gateway, "Alice").await;
    assert!(browser.cookies["known"].starts_with("miid_kb_"));
    let mut known = async |hint: &str| {
        browser.start(hint).await;
        world.gateway.book().created.last().expect("asked").known_browser
    };
    assert!(known("@alice").await);
    assert!(known(did().as_str()).await);
    assert!(!known("bob").await);
    let mut other = world.browser();
    other.start("alice").await;
    assert!(!world.gateway.book().created.last().expect("asked").known_browser);
}

#[tokio::test]
async fn a_browser_stays_known_under_each_new_cookie() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.sign_in(&world.gateway, "alice").await;
    let first = browser.cookies["known"].clone();
    browser.sign_in(&world.gateway, "alice").await;
    let second = browser.cookies.insert("known".into(), first.clone()).expect("a cookie");
    assert_ne!(first, second);
    browser.start("alice").await;
    assert!(!world.gateway.book().created.last().expect("asked").known_browser, "the old cookie is dead");
    browser.cookies.insert("known".into(), second);
    browser.start("alice").await;
    assert!(world.gateway.book().created.last().expect("asked").known_browser);
}

#[tokio::test]
async fn one_address_may_start_so_many_a_minute() {
    let world = World::with(|config| config.start_rate = NonZeroU32::new(3).expect("not zero")).await;
    let mut browser = world.browser();
    for _ in 0..3 {
        browser.start("alice").await;
    }
    let answer = browser.try_start("alice").await;
    answer.refused(429, "rate_limited");
    assert!(answer.headers["retry-after"].to_str().expect("text").parse::<u64>().expect("seconds") >= 1);
}

#[tokio::test]
async fn what_the_gateway_says_of_the_person_is_passed_on_and_what_it_says_of_us_is_not() {
    let world = World::new().await;
    let mut browser = world.browser();
    world.gateway.book().refuse = Some((ErrorCode::TooManyChallenges, 77));
    let answer = browser.try_start("alice").await;
    answer.refused(429, "too_many_challenges");
    assert_eq!(answer.headers["retry-after"], "77");
    world.gateway.book().refuse = Some((ErrorCode::InvalidScope, 0));
    browser.try_start("alice").await.refused(503, "gateway_unavailable");
    world.gateway.down(true);
    let answer = browser.try_start("alice").await;
    answer.refused(503, "gateway_unavailable");
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn the_gateway_learns_what_the_wallet_shows() {
    let world = World::with(|config| {
        config.name = "My Shop".into();
        config.trusted_proxies = vec!["127.0.0.1".parse().expect("a network")];
    })
    .await;
    let mut browser = world.browser();
    let request = browser
        .request(reqwest::Method::POST, "/auth/start")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
        .header("x-forwarded-for", "10.9.9.9, 203.0.113.9")
        .json(&serde_json::json!({ "login_hint": " @Alice " }));
    browser.send(request).await.expect(201);
    let asked = world.gateway.book().created.last().cloned().expect("asked");
    assert_eq!(asked.login_hint.as_deref(), Some("alice"));
    assert_eq!(asked.user_agent.as_deref(), Some("Firefox on Linux"));
    assert_eq!(asked.ip.as_deref(), Some("203.0.113.9"));
    assert_eq!(asked.binding_message.as_deref(), Some("Sign in to My Shop"));
    assert_eq!(asked.claims, ["name", "email"]);
    assert_eq!(asked.code_challenge_method, "S256");
}
