use miid_protocol::service::ExpireReason;
use miid_protocol::service::RevokeReason;
use miid_protocol::{Lifetime, SessionId};

use super::*;
use crate::policy::ProposedClaim;
use crate::request::tests::{T, id, sample, session, step_up};
use crate::update::WalletUpdate;
use crate::wallet::ShownRequest;

fn proposal() -> Proposal {
    let claim = |name: &str, value: Option<&str>, share| ProposedClaim {
        name: name.into(),
        value: value.map(str::to_owned),
        share,
    };
    Proposal {
        claims: vec![
            claim("name", Some("Alice Kim"), true),
            claim("email", Some("alice@example.com"), false),
            claim("age", None, false),
        ],
        scopes: vec!["profile".into()],
        needs_number: true,
        known_service: false,
        session_since: None,
    }
}

fn created(n: u32) -> WalletUpdate {
    WalletUpdate::ChallengeCreated { challenge_id: id(n), request: Box::new(sample(n)) }
}

fn expired(n: u32) -> WalletUpdate {
    WalletUpdate::Expired { challenge_id: id(n), reason: ExpireReason::Timeout }
}

fn outcome(n: u32, status: ChallengeStatus) -> Result<DecisionOutcome, DecisionError> {
    Ok(DecisionOutcome { challenge_id: id(n), status, reason: None, at: T, return_to: None })
}

fn connected() -> Dialogue {
    let mut dialogue = Dialogue::new(Words::English, "Alice");
    dialogue.began = true;
    dialogue
}

/// A dialogue that has just asked for the number of request `n`.
fn asking(n: u32) -> Dialogue {
    let mut dialogue = connected();
    assert_eq!(dialogue.on_update(&created(n), T), [Effect::Propose(id(n))]);
    dialogue.on_proposal(id(n), Some(proposal()), T);
    dialogue
}

fn said(effects: &[Effect]) -> String {
    let lines = effects.iter().filter_map(|effect| match effect {
        Say(text) | Ask(text) => Some(text.as_str()),
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_request_is_shown_asked_about_and_approved() {
    let mut dialogue = connected();
    assert_eq!(dialogue.on_update(&created(1), T), [Effect::Propose(id(1))]);
    let text = said(&dialogue.on_proposal(id(1), Some(proposal()), T.plus(Lifetime::from_secs(3))));
    for part in [
        "Demo Shop asks to sign you in",
        "“Sign in to Demo Shop” (the service's words)",
        "Firefox on Linux · 192.0.2.7 · valid 4:58",
        "allows: profile",
        "Number on that page",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let text = said(&dialogue.on_line("47"));
    assert!(text.contains("not in your profile: age") && text.contains("name \"Alice Kim\" [Y/n]"), "{text}");
    assert!(said(&dialogue.on_line("")).contains("email \"alice@example.com\" [y/N]"));
    let share = ["name".to_owned()].into();
    let approval = Approval { match_code: Some("47".into()), share, ..Approval::default() };
    assert_eq!(dialogue.on_line("n"), [Effect::Approve(id(1), approval)]);
    let effects = dialogue.on_result(id(1), outcome(1, ChallengeStatus::Approved));
    assert!(said(&effects).contains("Waiting for Demo Shop"));
    let session_id = SessionId::parse("0198e0a0-0000-7000-8000-00000000beef").expect("id");
    let effects = dialogue.on_update(&WalletUpdate::Active { challenge_id: id(1), session_id }, T);
    assert_eq!(effects, [Say("Signed in at Demo Shop.".into()), Effect::Settled(true)]);
}

#[test]
fn what_is_no_number_sends_nothing() {
    let mut dialogue = asking(1);
    for line in ["", "4", "abc", "477", "y"] {
        let effects = dialogue.on_line(line);
        assert!(matches!(effects[..], [Say(_), Ask(_)]), "{line}: {effects:?}");
    }
    assert_eq!(dialogue.on_line("d"), [Effect::Deny(id(1), DenyReason::Declined)]);
    assert_eq!(asking(1).on_line("N"), [Effect::Deny(id(1), DenyReason::NotMe)]);
}

#[test]
fn a_line_typed_to_a_request_that_ended_is_not_taken_for_the_next() {
    let mut dialogue = asking(2);
    assert!(said(&dialogue.on_update(&created(1), T)).contains("asks, too"));
    let text = said(&dialogue.on_update(&expired(2), T));
    assert!(text.contains("ran out of time") && text.contains("Press Enter"), "{text}");
    // The number was half typed: it goes nowhere, and only then is the other request shown.
    assert_eq!(dialogue.on_line("47"), [Effect::Propose(id(1))]);
}

#[test]
fn news_under_an_open_question_ask_it_again() {
    let mut dialogue = asking(1);
    let gone = WalletUpdate::Disconnected { reason: "the connection broke".into(), retry_in_ms: 1 };
    assert_eq!(dialogue.on_update(&gone, T), []);
    let effects = dialogue.on_update(&gone, T);
    assert!(matches!(&effects[..], [Say(blank), Say(_), Ask(_)] if blank.is_empty()), "{effects:?}");
}

#[test]
fn a_newer_request_does_not_take_the_place_of_the_one_being_answered() {
    let mut dialogue = asking(1);
    let effects = dialogue.on_update(&created(2), T);
    assert!(effects.iter().all(|effect| matches!(effect, Say(_) | Ask(_))), "{effects:?}");
    dialogue.on_line("47");
    dialogue.on_line("y");
    assert!(matches!(dialogue.on_line("y")[..], [Effect::Approve(asked, _)] if asked == id(1)));
}

#[test]
fn several_that_waited_are_asked_about_newest_first() {
    let mut dialogue = Dialogue::new(Words::English, "Alice");
    for n in [1, 3, 2] {
        assert_eq!(dialogue.on_update(&created(n), T), []);
    }
    let did =
        crate::identity::Identity::generate(&crate::entropy::SystemEntropy).expect("random").did().clone();
    let gateway = crate::vault::tests::gateway();
    let effects = dialogue.on_update(&WalletUpdate::Connected { did, gateway }, T);
    assert_eq!(effects.last(), Some(&Effect::Propose(id(3))));
    dialogue.on_proposal(id(3), Some(proposal()), T);
    let effects = dialogue.on_line("s");
    assert_eq!(effects.last(), Some(&Effect::Propose(id(2))));
}

#[test]
fn an_approval_can_be_cancelled_while_the_service_is_slow() {
    let mut dialogue = asking(1);
    for line in ["47", "", ""] {
        dialogue.on_line(line);
    }
    dialogue.on_update(&WalletUpdate::Approved { challenge_id: id(1) }, T);
    dialogue.on_result(id(1), outcome(1, ChallengeStatus::Approved));
    assert_eq!(dialogue.on_line("x"), []);
    assert_eq!(dialogue.on_line("c"), [Effect::Cancel(id(1))]);
    let text = said(&dialogue.on_update(&WalletUpdate::Cancelled { challenge_id: id(1) }, T));
    assert!(text.contains("waits again"), "{text}");
    let effects = dialogue.on_result(id(1), outcome(1, ChallengeStatus::Pending));
    assert_eq!(effects, [Effect::Propose(id(1))]);
}

#[test]
fn a_decision_that_failed_can_be_made_again() {
    let mut dialogue = asking(1);
    dialogue.on_line("d");
    let effects = dialogue.on_result(id(1), Err(DecisionError::InProgress));
    assert!(said(&effects).contains("did not work"));
    assert_eq!(effects.last(), Some(&Effect::Propose(id(1))));
}

#[test]
fn without_input_requests_are_shown_and_nothing_is_signed() {
    let mut dialogue = asking(1);
    assert!(said(&dialogue.on_eof()).contains("none can be answered"));
    let effects = dialogue.on_update(&created(2), T);
    assert!(said(&effects).contains("asks to sign you in"));
    assert!(effects.iter().all(|effect| matches!(effect, Say(_))), "{effects:?}");
}

#[test]
fn a_stream_that_is_closed_each_hour_is_no_news_and_an_outage_is_said_once() {
    let mut dialogue = connected();
    let gone = WalletUpdate::Disconnected { reason: "the gateway closed the stream".into(), retry_in_ms: 1 };
    assert_eq!(dialogue.on_update(&gone, T), []);
    assert_eq!(dialogue.on_update(&gone, T).len(), 1);
    assert_eq!(dialogue.on_update(&gone, T), []);
    let did =
        crate::identity::Identity::generate(&crate::entropy::SystemEntropy).expect("random").did().clone();
    let back = WalletUpdate::Connected { did, gateway: crate::vault::tests::gateway() };
    assert_eq!(dialogue.on_update(&back, T), [Say("Connected again.".into())]);
}

fn linked_outcome(n: u32) -> Result<DecisionOutcome, DecisionError> {
    let outcome = outcome(n, ChallengeStatus::Approved).expect("an outcome");
    Ok(DecisionOutcome { return_to: Some("https://shop.example/#…".into()), ..outcome })
}

#[test]
fn a_linked_request_asks_for_no_number_and_sends_the_browser_back() {
    let mut dialogue = connected();
    dialogue.on_update(&created(1), T);
    let linked = Proposal { needs_number: false, claims: vec![], ..proposal() };
    let text = said(&dialogue.on_proposal(id(1), Some(linked), T));
    assert!(text.contains("Approve (y = yes") && !text.contains("Number"), "{text}");
    // A number that somebody was told to type is no yes.
    assert!(matches!(dialogue.on_line("47")[..], [Ask(_)]));
    let effects = dialogue.on_line("y");
    assert_eq!(effects.last(), Some(&Effect::Approve(id(1), Approval::default())));
    let effects = dialogue.on_result(id(1), linked_outcome(1));
    assert!(matches!(&effects[..], [Effect::Return(back), Say(_)] if *back == id(1)), "{effects:?}");
    let other = WalletUpdate::Expired { challenge_id: id(1), reason: ExpireReason::OtherBrowser };
    let text = said(&dialogue.on_update(&other, T));
    assert!(text.contains("Somebody else began this sign-in"), "{text}");
}

#[test]
fn a_muted_service_is_listed_and_not_asked_about() {
    let mut dialogue = connected();
    dialogue.mute([sample(1).service.id].into());
    let effects = dialogue.on_update(&created(1), T);
    assert!(matches!(&effects[..], [Say(_)]), "{effects:?}");
    assert_eq!(dialogue.on_line(""), []);
    dialogue.mute(HashSet::new());
    assert_eq!(dialogue.on_update(&created(2), T), [Effect::Propose(id(2))]);
}

#[test]
fn a_conversation_about_one_request_ends_with_it_and_hears_of_no_other() {
    let about = || {
        let mut dialogue = Dialogue::about(Words::English, "Alice", id(1));
        let shown = |n| ShownRequest {
            standing: Standing::Pending,
            request: sample(n),
            digest: String::new(),
            session_since: None,
            return_to: false,
        };
        assert_eq!(dialogue.on_snapshot(&[shown(2), shown(1)], T), [Effect::Propose(id(1))]);
        dialogue.on_proposal(id(1), Some(Proposal { needs_number: false, ..proposal() }), T);
        assert_eq!(dialogue.on_update(&created(3), T), []);
        // Nor is its own news, which comes after it was taken, another request.
        assert_eq!(dialogue.on_update(&created(1), T), []);
        dialogue
    };
    assert_eq!(about().on_line("s").last(), Some(&Effect::Settled(false)));
    assert_eq!(about().on_eof().last(), Some(&Effect::Settled(false)));
    let mut dialogue = about();
    dialogue.on_line("n");
    let denied = WalletUpdate::Denied { challenge_id: id(1), reason: DenyReason::NotMe };
    let effects = dialogue.on_update(&denied, T);
    assert!(said(&effects).contains("miid-wallet mute demo-shop"), "{effects:?}");
    assert_eq!(effects.last(), Some(&Effect::Settled(false)));
}

#[test]
fn a_value_can_be_changed_for_this_once() {
    let mut dialogue = asking(1);
    dialogue.on_line("47");
    dialogue.on_line("= Alice K. ");
    let [Effect::Approve(_, approval)] = &dialogue.on_line("n")[..] else { panic!("no approval") };
    assert_eq!(approval.values, [("name".to_owned(), "Alice K.".to_owned())].into());
    assert_eq!(approval.share, ["name".to_owned()].into());
}

#[test]
fn what_was_approved_before_is_not_asked_about() {
    let mut dialogue = connected();
    let shown = ShownRequest {
        standing: Standing::Approved,
        request: sample(1),
        digest: String::new(),
        session_since: None,
        return_to: true,
    };
    assert_eq!(dialogue.on_snapshot(&[shown], T), []);
}

/// A dialogue that asks about a step-up.
fn confirming(words: Words, since: Option<Timestamp>) -> (Dialogue, String) {
    let mut dialogue = Dialogue::new(words, "Alice");
    dialogue.began = true;
    let created = WalletUpdate::ChallengeCreated { challenge_id: id(1), request: Box::new(step_up(1)) };
    assert_eq!(dialogue.on_update(&created, T), [Effect::Propose(id(1))]);
    let nothing = Proposal { claims: Vec::new(), needs_number: false, session_since: since, ..proposal() };
    let text = said(&dialogue.on_proposal(id(1), Some(nothing), T.plus(Lifetime::from_secs(600))));
    (dialogue, text)
}

#[test]
fn a_step_up_says_what_for_and_in_which_session_and_nothing_of_signing_in() {
    let (mut dialogue, text) = confirming(Words::English, Some(T));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[1], "Demo Shop asks you to confirm:");
    assert_eq!(lines[2], "  “Transfer 250 to Bob” (the service's words)");
    assert_eq!(lines[3], "  in your session there, signed in 10 min ago; nothing is shared");
    assert!(
        !text.contains("allows") && text.ends_with("Approve (y = yes, d = deny, n = not me, s = skip)? ")
    );
    assert_eq!(dialogue.on_line("y"), [Effect::Approve(id(1), Approval::default())]);
    let effects = dialogue.on_result(id(1), outcome(1, ChallengeStatus::Approved));
    assert!(said(&effects).contains("Waiting for Demo Shop"));
    let done = WalletUpdate::Confirmed { challenge_id: id(1), session_id: session() };
    let effects = dialogue.on_update(&done, T);
    let told = "Confirmed. Demo Shop goes on; your session there is as it was.";
    assert_eq!(effects, [Say(told.into()), Effect::Settled(true)]);

    let (_, text) = confirming(Words::English, None);
    assert!(text.contains("in a session that this wallet does not know: if in doubt, deny"), "{text}");
    let (_, text) = confirming(Words::Korean, Some(T));
    for part in ["Demo Shop에서 확인을 요청해요:", "10분 전 로그인한 세션", "승인할까요"]
    {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn a_step_up_whose_session_ended_says_so_under_the_open_question() {
    for (words, told) in [
        (Words::English, "Your session at Demo Shop has ended, so there is nothing left to confirm."),
        (Words::Korean, "Demo Shop의 세션이 끝나서 더 확인할 것이 없어요."),
    ] {
        let (mut dialogue, _) = confirming(words, Some(T));
        let reason = ExpireReason::SessionEnded;
        let effects = dialogue.on_update(&WalletUpdate::Expired { challenge_id: id(1), reason }, T);
        assert!(said(&effects).contains(told), "{effects:?}");
        assert!(effects.contains(&Effect::Settled(false)));
        // What is typed now belongs to nothing.
        assert_eq!(dialogue.on_line("y"), []);
        let revoked = WalletUpdate::SessionRevoked {
            session_id: session(),
            reason: RevokeReason::Service,
            service: Some("Demo Shop".into()),
            at: T,
        };
        assert!(said(&dialogue.on_update(&revoked, T)).contains("Demo Shop"));
    }
}
