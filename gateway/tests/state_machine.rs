//! Random steps over a model of one challenge, addressed or linked, of a sign-in or a step-up: never two winners, never an event without
//! its change, never a state outside the diagram of section 3, never a dead code that lives again, never a second
//! wallet that has it, never a step-up that makes a session, is another person's or outlives the session it is for.

use std::collections::HashSet;

use miid_gateway::domain::challenge::{Approve, Redeem};
use miid_gateway::domain::{Challenge, Refusal, State, Step, StepUp};
use miid_gateway::keys::ServerKeys;
use miid_gateway::verify::Received;
use miid_protocol::events::{ServiceEvent, WalletEvent};
use miid_protocol::request::{ServiceName, SignInRequest};
use miid_protocol::service::{Binding, ChallengeStatus, DenyReason, EndReason, ExpireReason, Risk};
use miid_protocol::statement::{self, Decision, Signed};
use miid_protocol::{ChallengeId, ClientId, Did, Issuer, SessionId, SigningKey, Timestamp};
use proptest::prelude::*;
use zeroize::Zeroizing;

const TTL_MS: i64 = 300_000;
const CODE_TTL_MS: i64 = 120_000;

#[derive(Debug, Clone, Copy)]
enum Act {
    Approve,
    ApproveWithWrongNumber,
    Deny,
    Cancel,
    Withdraw,
    Replace,
    Sweep,
    Redeem,
    RedeemAnOldCode,
    Claim,
    ClaimByAnother,
    ReturnInAnotherBrowser,
    Retire,
    RefreshTheSession,
    EndTheSession,
    Wait(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Approve),
        1 => Just(Act::ApproveWithWrongNumber),
        1 => Just(Act::Deny),
        4 => Just(Act::Cancel),
        1 => Just(Act::Withdraw),
        1 => Just(Act::Replace),
        2 => Just(Act::Sweep),
        2 => Just(Act::Redeem),
        2 => Just(Act::RedeemAnOldCode),
        5 => Just(Act::Claim),
        1 => Just(Act::ClaimByAnother),
        1 => Just(Act::ReturnInAnotherBrowser),
        1 => Just(Act::Retire),
        2 => Just(Act::RefreshTheSession),
        1 => Just(Act::EndTheSession),
        4 => (0..150_000i64).prop_map(Act::Wait),
    ]
}

struct World {
    key: SigningKey,
    did: Did,
    issuer: Issuer,
    keys: ServerKeys,
    request: SignInRequest,
    text: String,
    now: Timestamp,
    jti: u32,
    /// Until when the session of a step-up lives; a long time where there is none.
    session_until: Timestamp,
}

/// How long a session lives without a refresh, here.
const IDLE_MS: i64 = 400_000;

fn session_id() -> SessionId {
    SessionId::parse("0198e0a0-0000-7000-8000-00000000000b").expect("id")
}

impl World {
    fn new(linked: bool, step_up: bool) -> (Self, Challenge) {
        let binding = if linked { Binding::Linked } else { Binding::Addressed };
        let key = SigningKey::from_bytes(&[3; 32]);
        let did = Did::of(&key.verifying_key());
        let now = Timestamp::from_millis(1_767_322_985_000);
        let id = ChallengeId::parse("0198e0a0-0000-7000-8000-000000000001").expect("id");
        let client_id = ClientId::parse("demo-shop").expect("id");
        let request = SignInRequest {
            challenge_id: id,
            nonce: "n".into(),
            service: ServiceName { id: client_id.clone(), name: "Demo Shop".into() },
            binding,
            binding_message: "Sign in".into(),
            scopes: vec!["profile".into()],
            claims: vec![],
            risk: if step_up { Risk::StepUp } else { Risk::Normal },
            step_up_session: step_up.then(session_id),
            user_agent: None,
            ip: None,
            code_challenge: String::new(),
            created_at: now,
            expires_at: Timestamp::from_millis(now.millis() + TTL_MS),
        };
        let text = request.to_text();
        let challenge = Challenge {
            id,
            version: 1,
            client_id,
            did: (!linked).then(|| did.clone()),
            hint_key: String::new(),
            person_key: String::new(),
            known_browser: false,
            step_up: step_up.then(|| StepUp {
                session_id: session_id(),
                did: Some(did.clone()),
                session_until: Timestamp::from_millis(now.millis() + IDLE_MS),
            }),
            binding,
            return_url: linked.then(|| "https://shop.example/return".into()),
            nonce: "n".into(),
            request: text.clone(),
            code_challenge: String::new(),
            created_at: now,
            expires_at: request.expires_at,
            changed_at: now,
            approvals: 0,
            state: State::Pending,
        };
        let issuer = Issuer::parse("http://127.0.0.1:1").expect("issuer");
        let keys = ServerKeys::new(Zeroizing::new([9; 32]));
        let session_until = Timestamp::from_millis(now.millis() + IDLE_MS);
        (Self { key, did, issuer, keys, request, text, now, jti: 0, session_until }, challenge)
    }

    /// A challenge as it would be read now: its session's row is read with it.
    fn read(&self, challenge: &Challenge) -> Challenge {
        let mut read = challenge.clone();
        if let Some(step_up) = &mut read.step_up {
            step_up.session_until = self.session_until;
        }
        read
    }

    fn session_is_over(&self, challenge: &Challenge) -> bool {
        challenge.step_up.is_some() && self.session_until <= self.now
    }

    fn signed(&mut self, decision: Decision<'_>) -> Signed {
        self.jti += 1;
        let jti = self.jti.to_string();
        let token = statement::sign(&self.key, decision, &self.issuer, &jti, self.now.seconds());
        Signed::open(&token).expect("signed just now")
    }

    fn received(&self) -> Received<'_> {
        Received { issuer: &self.issuer, now: self.now, did: &self.did }
    }

    fn approve(&mut self, challenge: &Challenge, right: bool) -> Option<Step> {
        let linked = challenge.binding == Binding::Linked;
        if linked && !right {
            return None;
        }
        let number = self.keys.match_code(challenge.id);
        let wrong = if number == "00" { "01" } else { "00" };
        let (text, request) = (self.text.clone(), self.request.clone());
        let signed = self.signed(Decision::Approve {
            request_text: &text,
            request: &request,
            match_code: (!linked).then_some(if right { &number } else { wrong }),
            scopes: &request.scopes,
            disclosure: None,
        });
        let approval =
            self.received().approval(&signed, challenge, &request, None).expect("a good statement");
        let grant = (uuid::Uuid::nil(), Timestamp::from_millis(self.now.millis() + CODE_TTL_MS));
        match challenge.approve(&approval, None, (!linked).then_some(&number), grant, self.now) {
            Ok(Approve::Approved(step)) => {
                assert!(right);
                Some(step)
            }
            Ok(Approve::WrongNumber(step)) => {
                assert!(!right);
                assert_eq!(step.next.state, State::Denied(DenyReason::WrongMatchCode));
                Some(step)
            }
            Err(_) => None,
        }
    }

    fn step(&mut self, challenge: &Challenge, act: Act) -> Option<Step> {
        let challenge = &self.read(challenge);
        let (text, request) = (self.text.clone(), self.request.clone());
        // What is another's, or nobody's yet, the store does not even find for this wallet.
        let own = challenge.did.as_ref() == Some(&self.did);
        match act {
            Act::Approve | Act::ApproveWithWrongNumber | Act::Deny | Act::Cancel | Act::Retire if !own => {
                None
            }
            Act::Approve => self.approve(challenge, true),
            Act::ApproveWithWrongNumber => self.approve(challenge, false),
            Act::Deny => {
                let reason = DenyReason::Declined;
                let signed = self.signed(Decision::Deny { request_text: &text, request: &request, reason });
                let denial = self.received().denial(&signed, challenge).expect("a good statement");
                challenge.deny(&denial, self.now).ok()
            }
            Act::Cancel => {
                let signed = self.signed(Decision::Cancel { request_text: &text, request: &request });
                let cancel = self.received().cancellation(&signed, challenge).expect("a good statement");
                challenge.cancel(&cancel, self.now).ok()
            }
            Act::Withdraw => challenge.withdraw(ExpireReason::Withdrawn, self.now).ok().flatten(),
            Act::Replace => challenge.replace(self.now),
            Act::Sweep => challenge.lapse(self.now),
            Act::Redeem => match challenge.redeem(self.now) {
                Redeem::SignIn(redeemable) => {
                    assert!(challenge.step_up.is_none(), "a step-up's code makes no session");
                    let id = SessionId::parse("0198e0a0-0000-7000-8000-00000000000a").expect("id");
                    Some(redeemable.activate(id, "sub", self.now))
                }
                Redeem::StepUp(confirmed) => {
                    assert_eq!(Some(confirmed.session_id()), self.request.step_up_session);
                    assert!(!self.session_is_over(challenge));
                    assert_eq!(confirmed.approved_at(), challenge.changed_at);
                    Some(confirmed.spend(self.now))
                }
                Redeem::Again(again) => {
                    assert!(challenge.step_up.is_none() || again == session_id(), "it ends what it was for");
                    None
                }
                Redeem::Dead => None,
            },
            // Only the code of the last approval counts; the earlier ones are others.
            Act::RedeemAnOldCode => {
                let live = self.keys.code(challenge.id, challenge.approvals).hash();
                for approval in 1..challenge.approvals {
                    assert_ne!(live, self.keys.code(challenge.id, approval).hash());
                }
                None
            }
            Act::Claim if challenge.binding == Binding::Linked => {
                challenge.claim(&self.did, "person", self.now).ok().flatten()
            }
            Act::ClaimByAnother if challenge.binding == Binding::Linked => {
                let another = Did::of(&SigningKey::from_bytes(&[4; 32]).verifying_key());
                let claimed = challenge.claim(&another, "another", self.now);
                if challenge.step_up.is_some() {
                    assert_eq!(claimed.err(), Some(Refusal::AnotherPerson));
                    return None;
                }
                if own {
                    assert_eq!(claimed.err(), Some(Refusal::AlreadyClaimed));
                    return None;
                }
                claimed.ok().flatten()
            }
            Act::Claim | Act::ClaimByAnother => None,
            Act::ReturnInAnotherBrowser => {
                if !challenge.has_response_code(self.now) {
                    return None;
                }
                assert!(challenge.binding == Binding::Linked && challenge.approvals > 0);
                let step = challenge.withdraw(ExpireReason::OtherBrowser, self.now).ok().flatten();
                assert!(
                    step.is_none() || matches!(challenge.state, State::Approved(_)),
                    "only of an approval"
                );
                step
            }
            Act::Retire => {
                let signed = self.signed(Decision::Retire);
                let retirement = self.received().retirement(&signed).expect("a good statement");
                let step = challenge.retire(&retirement, self.now);
                assert!(step.is_some() != status(&challenge.state).is_final(), "it ends whatever is open");
                step
            }
            Act::RefreshTheSession => {
                if !self.session_is_over(challenge) {
                    self.session_until = Timestamp::from_millis(self.now.millis() + IDLE_MS);
                }
                None
            }
            Act::EndTheSession => {
                self.session_until = self.session_until.min(self.now);
                let step = self.read(challenge).end_with_session(self.now);
                let open = challenge.step_up.is_some() && !status(&challenge.state).is_final();
                assert_eq!(step.is_some(), open, "it ends what is open of its own, and nothing else");
                step
            }
            Act::Wait(ms) => {
                self.now = Timestamp::from_millis(self.now.millis() + ms);
                None
            }
        }
    }
}

fn status(state: &State) -> ChallengeStatus {
    match state {
        State::Pending => ChallengeStatus::Pending,
        State::Approved(_) => ChallengeStatus::Approved,
        State::Active(_) => ChallengeStatus::Active,
        State::Denied(_) => ChallengeStatus::Denied,
        State::Expired(_) => ChallengeStatus::Expired,
    }
}

/// The arrows of section 3, and no others; a claim changes nothing but whose it is, and that once.
fn is_in_the_diagram(from: &Challenge, to: &Challenge) -> bool {
    if from.did != to.did {
        return from.did.is_none() && from.state == State::Pending && to.state == State::Pending;
    }
    let (from, to) = (&from.state, &to.state);
    use ChallengeStatus::{Active, Approved, Denied, Expired, Pending};
    matches!(
        (status(from), status(to)),
        (Pending, Approved | Denied | Expired) | (Approved, Pending | Active | Expired)
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_walk_stays_inside_the_diagram(
        (linked, step_up) in any::<(bool, bool)>(),
        acts in prop::collection::vec((act(), act()), 1..24),
    ) {
        let (mut world, mut challenge) = World::new(linked, step_up);
        let mut exchanged = 0;
        let mut codes = HashSet::new();
        for (one, other) in acts {
            // Two see the same challenge and act at the same moment; the compare-and-set lets one win.
            let before = challenge.clone();
            let steps = [world.step(&before, one), world.step(&before, other)];
            let mut winners = 0;
            for step in steps.into_iter().flatten() {
                prop_assert!(is_in_the_diagram(&before, &step.next));
                prop_assert_eq!(&step.next.request, &before.request, "what is signed stays as it is");
                prop_assert_eq!(step.next.id, challenge.id);
                prop_assert!(step.wallet.is_some() && step.service.is_some(), "a change is announced to both");
                if step.next.version != challenge.version + 1 {
                    continue;
                }
                winners += 1;
                if matches!(step.next.state, State::Approved(_)) {
                    let code = world.keys.code(step.next.id, step.next.approvals);
                    prop_assert!(codes.insert(code.hash().to_text()), "each approval has a code of its own");
                    let response_code = world.keys.response_code(step.next.id, step.next.approvals);
                    prop_assert!(codes.insert(response_code.hash().to_text()), "and a response code");
                }
                if let State::Active(active) = &step.next.state {
                    exchanged += 1;
                    prop_assert_eq!(step_up, active.session_id == session_id());
                }
                prop_assert_eq!(
                    matches!(step.wallet, Some(WalletEvent::SessionCreated(_))),
                    !step_up && matches!(step.next.state, State::Active(_)),
                );
                prop_assert_eq!(
                    matches!(step.service, Some(ServiceEvent::ChallengeExchanged(_))),
                    step_up && matches!(step.next.state, State::Active(_)),
                );
                challenge = step.next;
            }
            prop_assert!(winners <= 1, "two that race have one winner");
            prop_assert!(exchanged <= 1, "one challenge is exchanged once");
            challenge = world.read(&challenge);
            let (standing, reason) = challenge.standing(world.now);
            if world.session_is_over(&challenge) {
                prop_assert!(standing.is_final(), "a step-up does not outlive its session");
                prop_assert!(matches!(challenge.redeem(world.now), Redeem::Again(_) | Redeem::Dead));
            }
            prop_assert!(
                step_up || reason != Some(EndReason::Expired(ExpireReason::SessionEnded)),
                "a sign-in is for no session"
            );
            if world.now >= challenge.expires_at {
                prop_assert!(standing != ChallengeStatus::Pending, "past its deadline it counts as expired");
            }
            if standing == ChallengeStatus::Approved {
                prop_assert!(challenge.did.is_some(), "somebody approved");
                prop_assert_eq!(challenge.has_response_code(world.now), linked);
            }
            if matches!(standing, ChallengeStatus::Pending | ChallengeStatus::Denied) {
                prop_assert!(!challenge.has_response_code(world.now), "an old response code is dead");
            }
        }
    }

    #[test]
    fn what_is_over_stays_over(
        (linked, step_up) in any::<(bool, bool)>(),
        acts in prop::collection::vec(act(), 1..40),
    ) {
        let (mut world, mut challenge) = World::new(linked, step_up);
        let mut over: Option<State> = None;
        for act in acts {
            if let Some(step) = world.step(&challenge, act) {
                challenge = step.next;
            }
            if let Some(over) = &over {
                prop_assert_eq!(over, &challenge.state);
            }
            if status(&challenge.state).is_final() {
                over = Some(challenge.state.clone());
            }
        }
    }
}
