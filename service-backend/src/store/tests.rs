//! The contract of the store, on both databases. PostgreSQL's URL comes from `MIID_TEST_POSTGRES_URL`;
//! each test makes a database of its own there.

use miid_protocol::secret::{BrowserSession, KnownBrowser, LoginCookie, Secret};
use miid_protocol::service::{Binding, DenyReason, ExpireReason, RevokeReason};
use miid_protocol::{ChallengeId, Did, Issuer, Lifetime, SessionId, SigningKey, Timestamp};

use super::*;
use crate::finish::Claim;
use crate::logins::{Approved, CODE_LIFETIME, LoginState};
use crate::outside::Outside;
use crate::sessions::{End, NewSession};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn did() -> Did {
    Did::of(&SigningKey::from_bytes(&[9; 32]).verifying_key())
}

fn challenge(n: u32) -> ChallengeId {
    ChallengeId::parse(&format!("0198e0a0-0000-7000-8000-{n:012}")).expect("an id")
}

fn session_id(n: u32) -> SessionId {
    SessionId::parse(&format!("0198e0a0-0000-7000-9000-{n:012}")).expect("an id")
}

fn claim(n: u32, owner: &str) -> Claim {
    Claim { id: challenge(n), owner: owner.to_owned() }
}

fn approval() -> Approval {
    Approval { did: did(), code_sealed: "sealed".into(), code_expires_at: at(120_000), response_sealed: None }
}

fn returned() -> Approval {
    Approval { response_sealed: Some("sealed too".into()), ..approval() }
}

fn approved() -> Approved {
    Approved { did: did(), code_expires_at: at(400_000) }
}

fn session(n: u32) -> NewSession {
    NewSession {
        session_id: session_id(n),
        iss: Issuer::parse("https://gw.example").expect("an issuer"),
        sub: "sub".into(),
        did: did(),
        scope: "profile".into(),
        requested_claims: vec!["name".into(), "email".into()],
        claims: [("name".to_owned(), "앨리스".to_owned())].into(),
        access_sealed: "a".into(),
        access_expires_at: at(600_000),
        refresh_sealed: "r".into(),
        binding: Binding::Addressed,
        created_at: at(1_000),
        expires_at: at(1_000_000),
    }
}

async fn open_login(store: &Store, n: u32) {
    open(store, n, Binding::Addressed).await;
}

async fn open(store: &Store, n: u32, binding: Binding) {
    open_for(store, n, binding, None).await;
}

async fn open_for(store: &Store, n: u32, binding: Binding, step_up: Option<SessionId>) {
    let login = NewLogin {
        challenge_id: challenge(n),
        cookie_hash: Secret::<LoginCookie>::from_bytes([1; 32]).hash(),
        seed: "seed".into(),
        hint_digest: "hint".into(),
        binding,
        step_up,
        created_at: at(0),
        expires_at: at(300_000),
    };
    store.open_login(&login).await.expect("opens");
}

async fn state(store: &Store, n: u32) -> LoginState {
    store.login(challenge(n)).await.expect("reads").expect("a login").state
}

/// A store on each database that there is, for `test`.
async fn on_both<F: Future<Output = ()>>(test: impl Fn(Vec<Store>) -> F) {
    let folder = tempfile::tempdir().expect("a folder");
    let key_file = folder.path().join("service.key");
    let keys = Keys::open(&key_file, &Outside::real()).expect("a key");
    let url = format!("sqlite://{}", folder.path().join("service.db").display());
    test(vec![Store::open(&url, &keys, &key_file).await.expect("opens")]).await;

    let Ok(server) = std::env::var("MIID_TEST_POSTGRES_URL") else {
        skipped("the store contract ran on SQLite only");
        return;
    };
    let name = format!("svc_{:032x}", u128::from_le_bytes(Outside::real().random()));
    let admin = db::Db::open_bare(&server).await;
    admin.run(&format!("CREATE DATABASE {name}")).await;
    let url = with_database(&server, &name);
    let first = Store::open(&url, &keys, &key_file).await.expect("opens");
    let second = Store::open(&url, &keys, &key_file).await.expect("opens twice");
    test(vec![first, second]).await;
    admin.run(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// Past the capture of the test runner: what was not tested must be seen.
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what} (MIID_TEST_POSTGRES_URL is not set)");
}

/// The same server, another database: the path of the URL, between authority and query.
fn with_database(url: &str, name: &str) -> String {
    let (before, query) = url.split_once('?').map_or((url, String::new()), |(b, q)| (b, format!("?{q}")));
    let authority_at = before.find("://").expect("a URL") + 3;
    let authority_end = before[authority_at..].find('/').map_or(before.len(), |slash| authority_at + slash);
    format!("{}/{name}{query}", &before[..authority_end])
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |folder: &str| {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/service").join(folder);
        let mut names: Vec<_> = std::fs::read_dir(path)
            .expect("a folder")
            .map(|file| file.expect("a file").file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}

#[tokio::test]
async fn of_many_that_hear_an_approval_one_exchanges() {
    on_both(async |stores| {
        open_login(&stores[0], 1).await;
        let approval = approval();
        let attempts = (0..32).map(|n| {
            let store = &stores[n % stores.len()];
            let approval = &approval;
            async move {
                store
                    .begin_exchange(&claim(1, &format!("instance {n}")), approval, at(10), at(20))
                    .await
                    .expect("answers")
            }
        });
        let won = futures_util::future::join_all(attempts).await;
        assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
        assert!(
            matches!(state(&stores[0], 1).await, LoginState::Exchanging(e) if e.tries == 1 && e.did == did())
        );
    })
    .await;
}

#[tokio::test]
async fn only_the_owner_of_an_exchange_finishes_it() {
    on_both(async |stores| {
        let store = &stores[0];
        let id = challenge(1);
        open_login(store, 1).await;
        assert!(store.begin_exchange(&claim(1, "a"), &approval(), at(10), at(20)).await.expect("answers"));
        assert!(!store.activate(&claim(1, "b"), &session(1)).await.expect("answers"));
        assert!(
            store.session(session_id(1)).await.expect("reads").is_none(),
            "nothing of the lost one remains"
        );
        assert!(!store.release_exchange(&claim(1, "b"), false).await.expect("answers"));
        assert!(!store.end_login(id, &LoginState::Denied(DenyReason::Declined)).await.expect("answers"));
        assert!(store.activate(&claim(1, "a"), &session(1)).await.expect("answers"));
        assert!(!store.activate(&claim(1, "a"), &session(2)).await.expect("answers"));
        assert!(
            matches!(state(store, 1).await, LoginState::Active { session_id: s, .. } if s == session_id(1))
        );
        let session = store.session(session_id(1)).await.expect("reads").expect("a session");
        assert_eq!(session.claims["name"], "앨리스");
        assert_eq!(session.requested_claims, ["name", "email"]);
    })
    .await;
}

#[tokio::test]
async fn an_orphan_is_adopted_by_one_and_its_first_owner_has_lost_it() {
    on_both(async |stores| {
        let store = &stores[0];
        open_login(store, 1).await;
        assert!(store.begin_exchange(&claim(1, "a"), &approval(), at(10), at(20)).await.expect("answers"));
        assert!(store.orphaned_exchanges(at(20)).await.expect("reads").is_empty());
        let orphans = store.orphaned_exchanges(at(21)).await.expect("reads");
        let LoginState::Exchanging(orphan) = &orphans[0].state else { panic!("{orphans:?}") };
        let adopted = [
            store.adopt_exchange(&claim(1, "b"), orphan, at(40)).await.expect("answers"),
            stores[stores.len() - 1].adopt_exchange(&claim(1, "c"), orphan, at(40)).await.expect("answers"),
        ];
        assert_eq!(adopted, [true, false]);
        assert!(!store.renew_exchange(&claim(1, "a"), at(99)).await.expect("answers"));
        assert!(store.renew_exchange(&claim(1, "b"), at(50)).await.expect("answers"));
        assert!(!store.activate(&claim(1, "a"), &session(1)).await.expect("answers"));
        let over = LoginState::Expired(ExpireReason::Withdrawn);
        assert!(store.fail_exchange(&claim(1, "b"), &over).await.expect("answers"));
        assert!(matches!(state(store, 1).await, LoginState::Expired(ExpireReason::Withdrawn)));
    })
    .await;
}

#[tokio::test]
async fn a_login_past_its_time_is_not_exchanged() {
    on_both(async |stores| {
        open_login(&stores[0], 1).await;
        let late = at(301_000);
        assert!(
            !stores[0].begin_exchange(&claim(1, "a"), &approval(), late, at(400_000)).await.expect("answers")
        );
        assert!(stores[0].waiting_logins(late).await.expect("reads").is_empty());
        assert_eq!(stores[0].waiting_logins(at(300_999)).await.expect("reads"), [(challenge(1), None)]);
    })
    .await;
}

#[tokio::test]
async fn a_linked_login_is_looked_up_while_a_code_could_still_live() {
    on_both(async |stores| {
        open(&stores[0], 1, Binding::Linked).await;
        let until = 301_000 + CODE_LIFETIME.millis();
        assert_eq!(stores[0].waiting_logins(at(until - 1)).await.expect("reads"), [(challenge(1), None)]);
        assert!(stores[0].waiting_logins(at(until)).await.expect("reads").is_empty());
    })
    .await;
}

#[tokio::test]
async fn one_that_was_not_theirs_is_given_up_like_one_that_waits() {
    on_both(async |stores| {
        let store = &stores[0];
        for (n, reason, given_up) in [
            (1, DenyReason::NotMe, true),
            (2, DenyReason::Declined, false),
            (3, DenyReason::WrongMatchCode, false),
        ] {
            open(store, n, Binding::Linked).await;
            assert!(store.end_login(challenge(n), &LoginState::Denied(reason)).await.expect("answers"));
            assert_eq!(store.give_up(challenge(n), at(40)).await.expect("answers"), given_up, "{reason:?}");
        }
        assert!(matches!(state(store, 1).await, LoginState::Expired(ExpireReason::Withdrawn)));
        assert!(matches!(state(store, 2).await, LoginState::Denied(DenyReason::Declined)));
    })
    .await;
}

#[tokio::test]
async fn a_taken_back_approval_waits_again() {
    on_both(async |stores| {
        let store = &stores[0];
        open_login(store, 1).await;
        assert!(store.begin_exchange(&claim(1, "a"), &approval(), at(10), at(20)).await.expect("answers"));
        assert!(store.release_exchange(&claim(1, "a"), false).await.expect("answers"));
        assert!(matches!(state(store, 1).await, LoginState::Waiting { approved: None }));
        assert!(store.begin_exchange(&claim(1, "b"), &approval(), at(10), at(20)).await.expect("answers"));
        assert!(store.replace_code(&claim(1, "b"), &approval()).await.expect("answers"));
    })
    .await;
}

#[tokio::test]
async fn a_linked_login_is_claimed_approved_and_taken_back_while_it_waits_and_no_longer() {
    on_both(async |stores| {
        let (store, other) = (&stores[0], &stores[stores.len() - 1]);
        open(store, 1, Binding::Linked).await;
        let id = challenge(1);
        let claims = [
            store.claimed(id, at(5)).await.expect("answers"),
            other.claimed(id, at(6)).await.expect("answers"),
        ];
        assert_eq!(claims, [true, false]);
        assert!(store.login(id).await.expect("reads").expect("a login").claimed);
        assert!(store.approved(id, &approved(), at(10)).await.expect("answers"));
        assert!(
            matches!(state(other, 1).await, LoginState::Waiting { approved: Some(a) } if a == approved())
        );
        // Past the time in which it could be answered it still waits for its browser.
        let known = Some(approved().code_expires_at);
        assert_eq!(store.waiting_logins(at(350_000)).await.expect("reads"), [(id, known)]);
        // What was asked before another approval came says nothing about this one.
        assert!(!store.taken_back(id, Some(at(1))).await.expect("answers"));
        assert!(matches!(state(other, 1).await, LoginState::Waiting { approved: Some(_) }));
        assert!(store.taken_back(id, known).await.expect("answers"));
        assert!(!other.taken_back(id, None).await.expect("answers"));
        assert!(matches!(state(store, 1).await, LoginState::Waiting { approved: None }));

        assert!(store.approved(id, &approved(), at(20)).await.expect("answers"));
        assert!(
            store
                .begin_exchange(&claim(1, "a"), &returned(), at(350_000), at(360_000))
                .await
                .expect("answers")
        );
        // What is told late finds it on its way.
        assert!(!other.taken_back(id, None).await.expect("answers"));
        assert!(!other.approved(id, &approved(), at(30)).await.expect("answers"));
        assert!(!other.give_up(id, at(40)).await.expect("answers"));
        assert!(matches!(
            state(store, 1).await,
            LoginState::Exchanging(e) if e.response_sealed.as_deref() == Some("sealed too")
        ));
        // A wrong code: the approval stands, and nothing of the attempt is kept.
        assert!(store.release_exchange(&claim(1, "a"), true).await.expect("answers"));
        assert!(matches!(state(other, 1).await, LoginState::Waiting { approved: Some(_) }));
        assert!(store.begin_exchange(&claim(1, "b"), &returned(), at(10), at(20)).await.expect("answers"));
        assert!(store.activate(&claim(1, "b"), &session(1)).await.expect("answers"));
        assert!(matches!(state(store, 1).await, LoginState::Active { did: Some(d), .. } if d == did()));
        assert!(!store.claimed(id, at(50)).await.expect("answers"));
    })
    .await;
}

#[tokio::test]
async fn a_login_of_one_kind_is_never_exchanged_as_the_other() {
    on_both(async |stores| {
        let store = &stores[0];
        open(store, 1, Binding::Linked).await;
        open(store, 2, Binding::Addressed).await;
        // Without what its browser brings back, whatever an event calls it.
        assert!(!store.begin_exchange(&claim(1, "a"), &approval(), at(10), at(20)).await.expect("answers"));
        assert!(!store.begin_exchange(&claim(2, "a"), &returned(), at(10), at(20)).await.expect("answers"));
        assert!(!store.approved(challenge(2), &approved(), at(10)).await.expect("answers"));
        for n in [1, 2] {
            assert!(matches!(state(store, n).await, LoginState::Waiting { approved: None }));
        }
    })
    .await;
}

#[tokio::test]
async fn of_many_returns_over_all_instances_one_exchanges() {
    on_both(async |stores| {
        open(&stores[0], 1, Binding::Linked).await;
        let attempts = (0..32).map(|n| {
            let store = &stores[n % stores.len()];
            async move {
                let claim = claim(1, &format!("instance {n}"));
                store.begin_exchange(&claim, &returned(), at(10), at(20)).await.expect("answers")
            }
        });
        let won = futures_util::future::join_all(attempts).await;
        assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_session_is_completed_again_within_the_window_only_and_ends_once() {
    on_both(async |stores| {
        let store = &stores[0];
        open_login(store, 1).await;
        store.begin_exchange(&claim(1, "a"), &approval(), at(10), at(20)).await.expect("answers");
        store.activate(&claim(1, "a"), &session(1)).await.expect("answers");
        let sid = |n| Secret::<BrowserSession>::from_bytes([n; 32]).hash();
        let window = Lifetime::from_secs(60);
        assert!(store.complete_session(session_id(1), sid(1), at(2_000), window).await.expect("answers"));
        assert!(store.complete_session(session_id(1), sid(2), at(60_000), window).await.expect("answers"));
        assert!(store.session_of(sid(1)).await.expect("reads").is_none());
        assert!(!store.complete_session(session_id(1), sid(3), at(62_000), window).await.expect("answers"));
        assert_eq!(store.session_of(sid(2)).await.expect("reads").expect("live").end, None);

        let end = End { at: at(70_000), reason: RevokeReason::User };
        assert!(store.end_session(session_id(1), end, Some(at(71_000))).await.expect("answers"));
        let other = End { at: at(80_000), reason: RevokeReason::Admin };
        assert!(!store.end_session(session_id(1), other, None).await.expect("answers"));
        assert_eq!(store.session_of(sid(2)).await.expect("reads").expect("ended").end, Some(end));
        assert!(store.session_ends_due(at(70_999)).await.expect("reads").is_empty());
        assert_eq!(store.session_ends_due(at(71_000)).await.expect("reads"), [session_id(1)]);
        assert!(!store.store_tokens(session_id(1), 0, "x", at(1), "y").await.expect("answers"));
    })
    .await;
}

#[tokio::test]
async fn a_browser_is_known_by_did_and_by_what_was_typed() {
    on_both(async |stores| {
        let store = &stores[0];
        let hash = |n| Secret::<KnownBrowser>::from_bytes([n; 32]).hash();
        let iss = Issuer::parse("https://gw.example").expect("an issuer");
        let known_as = |sub: &str, hint: &str| KnownAs {
            iss: iss.clone(),
            sub: sub.into(),
            did: did(),
            hint_digest: hint.into(),
        };
        store.remember_browser(None, hash(1), &known_as("a", "alice"), at(1)).await.expect("remembers");
        store
            .remember_browser(Some(hash(1)), hash(2), &known_as("b", "bob"), at(2))
            .await
            .expect("remembers");
        assert!(!store.is_known(hash(1), None, "alice").await.expect("reads"));
        for hint in ["alice", "bob"] {
            assert!(store.is_known(hash(2), None, hint).await.expect("reads"));
        }
        assert!(store.is_known(hash(2), Some(&did()), "other").await.expect("reads"));
        // A linked sign-in, where nothing was typed, forgets nothing of it.
        store.remember_browser(Some(hash(2)), hash(2), &known_as("a", ""), at(3)).await.expect("remembers");
        assert!(store.is_known(hash(2), None, "alice").await.expect("reads"));
        assert!(!store.is_known(hash(2), None, "other").await.expect("reads"));
        for n in 0..20 {
            let as_whom = known_as(&format!("p{n}"), &format!("h{n}"));
            store.remember_browser(Some(hash(2)), hash(2), &as_whom, at(10 + n)).await.expect("remembers");
        }
        assert!(!store.is_known(hash(2), None, "alice").await.expect("reads"), "bounded");
        assert!(store.is_known(hash(2), None, "h19").await.expect("reads"));
        assert!(store.sweep_known(at(100)).await.expect("sweeps") > 0);
        assert!(!store.is_known(hash(2), None, "h19").await.expect("reads"));
    })
    .await;
}

#[tokio::test]
async fn sweeps_are_bounded_and_leave_what_the_gateway_has_yet_to_hear() {
    on_both(async |stores| {
        let store = &stores[0];
        for n in 0..3 {
            open_login(store, n).await;
            store.begin_exchange(&claim(n, "a"), &approval(), at(10), at(20)).await.expect("answers");
            store.activate(&claim(n, "a"), &session(n)).await.expect("answers");
        }
        let end = End { at: at(2_000), reason: RevokeReason::Service };
        store.end_session(session_id(0), end, Some(at(3_000))).await.expect("answers");
        store.end_session(session_id(1), end, None).await.expect("answers");
        assert_eq!(store.sweep_sessions(at(5_000)).await.expect("sweeps"), 1);
        assert!(store.session(session_id(0)).await.expect("reads").is_some());
        assert_eq!(store.live_sessions(None, 10).await.expect("reads"), [session_id(2)]);
        assert_eq!(store.sweep_logins(at(300_001)).await.expect("sweeps"), 3);
        store.heard(at(9)).await.expect("writes");
        store.heard(at(5)).await.expect("writes");
        assert_eq!(store.heard_at().await.expect("reads"), Some(at(9)));
    })
    .await;
}

#[tokio::test]
async fn sign_ins_by_the_thousand_leave_one_session_and_no_pile_once_they_are_swept() {
    on_both(async |stores| {
        let store = &stores[0];
        // Fewer where each waits for transactions of a server.
        let many = if stores.len() == 1 { 10_000 } else { 2_000 };
        for n in 0..many {
            open_login(store, n).await;
            store.begin_exchange(&claim(n, "a"), &approval(), at(10), at(20)).await.expect("answers");
            store.activate(&claim(n, "a"), &session(n)).await.expect("answers");
            if let Some(before) = n.checked_sub(1) {
                let end = End { at: at(2_000), reason: RevokeReason::Superseded };
                store.end_session(session_id(before), end, None).await.expect("answers");
            }
        }
        let batch = u64::try_from(super::SWEEP_BATCH).expect("a number of rows");
        let (mut sessions, mut logins) = (0, 0);
        for _ in 0..u64::from(many).div_ceil(batch) {
            let swept = store.sweep_sessions(at(5_000)).await.expect("sweeps");
            sessions += swept;
            assert!(swept <= batch, "in portions: {swept}");
            logins += store.sweep_logins(at(300_001)).await.expect("sweeps");
        }
        assert_eq!((sessions, logins), (u64::from(many) - 1, u64::from(many)));
        assert_eq!(store.live_sessions(None, 10).await.expect("reads"), [session_id(many - 1)]);
        assert_eq!(store.row_counts().await, [("logins", 0), ("sessions", 1), ("known_browsers", 0)]);
    })
    .await;
}

/// A session, and a step-up for it that is being exchanged by "a".
async fn stepping_up(store: &Store, n: u32) -> StepUpToken {
    open_for(store, n, Binding::Linked, Some(session_id(1))).await;
    let returned = returned();
    assert!(store.begin_exchange(&claim(n, "a"), &returned, at(1_000), at(16_000)).await.expect("answers"));
    // A later one may be over earlier: where the session ends, or when the time for it was changed.
    StepUpToken { session_id: session_id(1), sealed: format!("t{n}"), expires_at: at(300_006 - i64::from(n)) }
}

async fn session_one(store: &Store) {
    open_login(store, 1).await;
    assert!(store.begin_exchange(&claim(1, "a"), &approval(), at(1_000), at(16_000)).await.expect("answers"));
    assert!(store.activate(&claim(1, "a"), &session(1)).await.expect("answers"));
}

async fn stepped_up(store: &Store) -> Option<String> {
    let session = store.session(session_id(1)).await.expect("reads").expect("a session");
    session.stepped_up.map(|stepped_up| stepped_up.sealed)
}

#[tokio::test]
async fn a_step_up_counts_from_its_completion_and_the_newest_one_does() {
    on_both(async |stores| {
        let (store, other) = (&stores[0], stores.last().expect("a store"));
        session_one(store).await;
        let (older, newer) = (stepping_up(store, 2).await, stepping_up(store, 3).await);
        let now = at(2_000);
        assert!(
            !store.activate_step_up(&claim(2, "b"), &older, now).await.expect("answers"),
            "not the owner"
        );
        assert!(
            !store.activate(&claim(2, "a"), &session(2)).await.expect("answers"),
            "no session comes of it"
        );
        assert!(store.activate_step_up(&claim(2, "a"), &older, now).await.expect("answers"));
        assert!(!store.activate_step_up(&claim(2, "a"), &older, now).await.expect("answers"), "once");
        assert!(store.activate_step_up(&claim(3, "a"), &newer, now).await.expect("answers"));
        assert_eq!(stepped_up(store).await, None);
        // Of another session, nothing; of its own, once, however often and wherever.
        store.complete_step_up(challenge(3), session_id(9)).await.expect("answers");
        assert_eq!(stepped_up(store).await, None);
        for store in [store, other] {
            store.complete_step_up(challenge(3), session_id(1)).await.expect("answers");
            assert_eq!(stepped_up(store).await.as_deref(), Some("t3"));
        }
        store.complete_step_up(challenge(2), session_id(1)).await.expect("answers");
        assert_eq!(stepped_up(other).await.as_deref(), Some("t3"), "an older one comes too late");
        // A sign-in is none.
        store.complete_step_up(challenge(1), session_id(1)).await.expect("answers");
        assert_eq!(stepped_up(store).await.as_deref(), Some("t3"));

        store.sweep_step_ups(at(300_003)).await.expect("sweeps");
        assert_eq!(stepped_up(store).await.as_deref(), Some("t3"));
        store.sweep_step_ups(at(300_004)).await.expect("sweeps");
        assert_eq!(stepped_up(store).await, None);
    })
    .await;
}

#[tokio::test]
async fn a_sessions_end_is_its_step_ups_end() {
    on_both(async |stores| {
        let store = &stores[0];
        session_one(store).await;
        let (done, under_way) = (stepping_up(store, 2).await, stepping_up(store, 3).await);
        open_for(store, 4, Binding::Linked, Some(session_id(1))).await;
        open_for(store, 5, Binding::Linked, Some(session_id(2))).await;
        open_login(store, 6).await;
        assert!(store.activate_step_up(&claim(2, "a"), &done, at(2_000)).await.expect("answers"));
        let listed = store.step_ups_of(session_id(1), 100).await.expect("reads");
        assert_eq!(listed, [(challenge(4), true), (challenge(3), false), (challenge(2), false)]);

        let end = End { at: at(3_000), reason: RevokeReason::User };
        assert!(store.end_session(session_id(1), end, None).await.expect("answers"));
        assert!(!store.end_session(session_id(1), end, None).await.expect("answers"));
        assert!(matches!(state(store, 4).await, LoginState::Expired(ExpireReason::SessionEnded)));
        for others in [5, 6] {
            assert!(matches!(state(store, others).await, LoginState::Waiting { .. }), "{others}");
        }
        assert!(!store.activate_step_up(&claim(3, "a"), &under_way, at(3_001)).await.expect("answers"));
        store.complete_step_up(challenge(2), session_id(1)).await.expect("answers");
        assert_eq!(stepped_up(store).await, None);
    })
    .await;
}
