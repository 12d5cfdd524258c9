//! The conversation on a terminal, as a state machine without a terminal: updates, lines and answers go in,
//! things to say and to do come out. Nothing is signed but by a line that was typed to the question about it.

use std::collections::{BTreeSet, HashSet};

use miid_protocol::request::SignInRequest;
use miid_protocol::service::{ChallengeStatus, DenyReason};
use miid_protocol::wallet::DecisionOutcome;
use miid_protocol::{ChallengeId, Timestamp};

use super::words::Words;
use crate::policy::{self, Approval, Proposal};
use crate::queue::Standing;
use crate::update::WalletUpdate;
use crate::wallet::{DecisionError, ShownRequest};

/// What the terminal is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Print a line.
    Say(String),
    /// Print a question and leave the cursor behind it.
    Ask(String),
    /// Find out what to offer.
    Propose(ChallengeId),
    /// Sign a yes.
    Approve(ChallengeId, Approval),
    /// Sign a no.
    Deny(ChallengeId, DenyReason),
    /// Sign that a yes is taken back.
    Cancel(ChallengeId),
    /// A request that was asked about is settled; whether it ended in a session.
    Settled(bool),
}

use Effect::{Ask, Say};

/// What is being talked about.
#[derive(Debug)]
enum Mode {
    /// Nothing.
    Idle,
    /// A request is about to be shown.
    Fetching(ChallengeId),
    /// The number is asked for.
    Number(ChallengeId, Proposal),
    /// One claim after the other.
    Share { id: ChallengeId, proposal: Proposal, approval: Approval, at: usize },
    /// A decision is on its way.
    Busy(ChallengeId),
    /// Approved; the service's turn.
    Waiting(ChallengeId),
    /// The request ended under an open question. The line that is being typed belongs to nothing any more,
    /// least of all to the next request.
    Overtaken,
}

struct Known {
    request: SignInRequest,
    standing: Standing,
}

/// The conversation.
pub(crate) struct Dialogue {
    words: Words,
    name: String,
    mode: Mode,
    known: Vec<Known>,
    skipped: HashSet<ChallengeId>,
    input_open: bool,
    /// The first connection was said, so that the lists are in.
    began: bool,
    /// The outage that was said last still lasts.
    away: bool,
    failures: u32,
}

impl Dialogue {
    pub(crate) fn new(words: Words, name: &str) -> Self {
        Self {
            words,
            name: name.to_owned(),
            mode: Mode::Idle,
            known: Vec::new(),
            skipped: HashSet::new(),
            input_open: true,
            began: false,
            away: false,
            failures: 0,
        }
    }

    /// Something changed. What is said while a question stands open begins on a line of its own, and the
    /// question is asked again below it.
    pub(crate) fn on_update(&mut self, update: &WalletUpdate, now: Timestamp) -> Vec<Effect> {
        let question_stood_open = !self.question_again().is_empty();
        let mut effects = self.heed(update, now);
        let asks_anew = effects.iter().any(|effect| matches!(effect, Ask(_)));
        if question_stood_open && !asks_anew && effects.iter().any(|effect| matches!(effect, Say(_))) {
            effects.insert(0, Say(String::new()));
            effects.extend(self.question_again());
        }
        effects
    }

    fn heed(&mut self, update: &WalletUpdate, now: Timestamp) -> Vec<Effect> {
        let words = self.words;
        match update {
            WalletUpdate::Connected { did, gateway } => {
                self.failures = 0;
                let was_away = std::mem::take(&mut self.away);
                if std::mem::replace(&mut self.began, true) {
                    return if was_away { vec![Say(words.connected_again().to_owned())] } else { Vec::new() };
                }
                let did = crate::identity::short(did);
                let mut effects = vec![Say(words.connected(gateway.as_str(), &self.name, &did))];
                effects.extend(self.go_on());
                effects
            }
            WalletUpdate::Disconnected { reason, .. } => {
                self.failures += 1;
                // The gateway closes each stream after an hour; that the next attempt succeeds is no news.
                let is_news = !self.away && (self.failures >= 2 || !self.began);
                self.away |= is_news;
                if is_news { vec![Say(words.disconnected(reason))] } else { Vec::new() }
            }
            WalletUpdate::Stopped { reason } => vec![Say(words.stopped(reason))],
            WalletUpdate::ChallengeCreated { request, .. } => self.on_created(request, now),
            WalletUpdate::ChallengeRefused { reason, .. } => vec![Say(words.refused_request(reason))],
            WalletUpdate::Approved { challenge_id } => self.on_approved(*challenge_id),
            WalletUpdate::Cancelled { challenge_id } => self.on_cancelled(*challenge_id),
            WalletUpdate::Denied { challenge_id, reason } => {
                self.on_end(*challenge_id, |service| words.denied(service, *reason), false)
            }
            WalletUpdate::Expired { challenge_id, reason } => {
                self.on_end(*challenge_id, |service| words.expired(service, *reason), false)
            }
            WalletUpdate::Gone { challenge_id } => {
                self.on_end(*challenge_id, |service| words.gone(service), false)
            }
            WalletUpdate::Active { challenge_id, .. } => {
                self.on_end(*challenge_id, |service| words.signed_in(service), true)
            }
            WalletUpdate::SessionRevoked { service, reason, .. } => {
                let service = service.as_deref().map(crate::request::plain);
                vec![Say(words.session_ended(service.as_deref(), *reason))]
            }
            WalletUpdate::NotKept { what } => vec![Say(words.not_kept(what))],
            WalletUpdate::Sessions { .. } | WalletUpdate::Resync | WalletUpdate::Missed => Vec::new(),
        }
    }

    /// What was missed: the whole list.
    pub(crate) fn on_snapshot(&mut self, requests: &[ShownRequest], now: Timestamp) -> Vec<Effect> {
        let gone: Vec<_> = self.known.iter().map(|known| known.request.challenge_id).collect();
        let gone =
            gone.into_iter().filter(|id| !requests.iter().any(|shown| shown.request.challenge_id == *id));
        let mut effects = Vec::new();
        for id in gone.collect::<Vec<_>>() {
            effects.extend(self.on_update(&WalletUpdate::Gone { challenge_id: id }, now));
        }
        for shown in requests.iter().rev() {
            if self.find(shown.request.challenge_id).is_none() {
                effects.extend(self.on_created(&shown.request, now));
            }
        }
        effects
    }

    /// What to offer for a request; `None` where it ended meanwhile.
    pub(crate) fn on_proposal(
        &mut self,
        id: ChallengeId,
        proposal: Option<Proposal>,
        now: Timestamp,
    ) -> Vec<Effect> {
        if !matches!(self.mode, Mode::Fetching(fetching) if fetching == id) {
            return Vec::new();
        }
        let (Some(proposal), Some(known)) = (proposal, self.find(id)) else {
            self.mode = Mode::Idle;
            return Vec::new();
        };
        let mut effects = self.shown(&known.request, now);
        if !proposal.scopes.is_empty() {
            effects.push(Say(format!("  {}", self.words.allows(&proposal.scopes))));
        }
        effects.push(self.number_question(&proposal));
        self.mode = Mode::Number(id, proposal);
        effects
    }

    /// A line was typed.
    pub(crate) fn on_line(&mut self, line: &str) -> Vec<Effect> {
        let line = line.trim();
        match std::mem::replace(&mut self.mode, Mode::Idle) {
            Mode::Idle | Mode::Overtaken => self.go_on(),
            mode @ (Mode::Fetching(_) | Mode::Busy(_)) => {
                self.mode = mode;
                Vec::new()
            }
            Mode::Waiting(id) if is(line, &["c", "ㅊ"]) => {
                self.mode = Mode::Busy(id);
                vec![Effect::Cancel(id)]
            }
            Mode::Waiting(id) if line.is_empty() => {
                // Its end will be told all the same.
                self.skipped.insert(id);
                self.go_on()
            }
            Mode::Waiting(id) => {
                self.mode = Mode::Waiting(id);
                Vec::new()
            }
            Mode::Number(id, proposal) => self.on_number(id, proposal, line),
            Mode::Share { id, proposal, approval, at } => self.on_share(id, proposal, approval, at, line),
        }
    }

    /// No more lines will come.
    pub(crate) fn on_eof(&mut self) -> Vec<Effect> {
        self.input_open = false;
        if !matches!(self.mode, Mode::Busy(_) | Mode::Waiting(_)) {
            self.mode = Mode::Idle;
        }
        vec![Say(String::new()), Say(self.words.input_closed().to_owned())]
    }

    /// What became of a decision.
    pub(crate) fn on_result(
        &mut self,
        id: ChallengeId,
        result: Result<DecisionOutcome, DecisionError>,
    ) -> Vec<Effect> {
        if !matches!(self.mode, Mode::Busy(busy) if busy == id) {
            // It has ended already, and that was said.
            return Vec::new();
        }
        self.mode = Mode::Idle;
        match result {
            Ok(outcome) if outcome.status == ChallengeStatus::Approved => {
                self.mode = Mode::Waiting(id);
                vec![Say(self.words.waiting(&self.service(id)))]
            }
            Ok(_) => self.go_on(),
            Err(error) => {
                let mut effects = vec![Say(self.words.not_decided(&error.to_string()))];
                effects.extend(self.go_on());
                effects
            }
        }
    }

    fn on_created(&mut self, request: &SignInRequest, now: Timestamp) -> Vec<Effect> {
        let place = self.known.iter().position(|known| known.request.created_at <= request.created_at);
        let known = Known { request: request.clone(), standing: Standing::Pending };
        self.known.insert(place.unwrap_or(self.known.len()), known);
        if !self.input_open {
            return self.shown(request, now);
        }
        match &self.mode {
            // Before the connection is said, lists come in; the newest of them is asked about first.
            Mode::Idle if self.began => self.go_on(),
            Mode::Idle => Vec::new(),
            _ => vec![Say(self.words.another(&request.service.name))],
        }
    }

    fn on_approved(&mut self, id: ChallengeId) -> Vec<Effect> {
        let service = self.service(id);
        if let Some(known) = self.known.iter_mut().find(|known| known.request.challenge_id == id) {
            known.standing = Standing::Approved;
        }
        if self.is_asked(id) { self.overtaken(self.words.approved_elsewhere(&service)) } else { Vec::new() }
    }

    fn on_cancelled(&mut self, id: ChallengeId) -> Vec<Effect> {
        let said = Say(self.words.cancelled(&self.service(id)));
        if let Some(known) = self.known.iter_mut().find(|known| known.request.challenge_id == id) {
            known.standing = Standing::Pending;
        }
        self.skipped.remove(&id);
        if matches!(self.mode, Mode::Waiting(waiting) if waiting == id) {
            self.mode = Mode::Idle;
        }
        let mut effects = vec![said];
        if matches!(self.mode, Mode::Idle) {
            effects.extend(self.go_on());
        }
        effects
    }

    /// A request is over.
    fn on_end(
        &mut self,
        id: ChallengeId,
        say: impl FnOnce(&str) -> String,
        in_a_session: bool,
    ) -> Vec<Effect> {
        if self.find(id).is_none() {
            return Vec::new();
        }
        let text = say(&self.service(id));
        let mut effects = if self.is_asked(id) {
            self.overtaken(text)
        } else {
            if matches!(self.mode, Mode::Busy(m) | Mode::Waiting(m) | Mode::Fetching(m) if m == id) {
                self.mode = Mode::Idle;
            }
            vec![Say(text)]
        };
        self.known.retain(|known| known.request.challenge_id != id);
        self.skipped.remove(&id);
        effects.push(Effect::Settled(in_a_session));
        if matches!(self.mode, Mode::Idle) {
            effects.extend(self.go_on());
        }
        effects
    }

    fn on_number(&mut self, id: ChallengeId, proposal: Proposal, line: &str) -> Vec<Effect> {
        if let Some(effects) = self.on_no(id, line, false) {
            return effects;
        }
        let match_code = if proposal.needs_number {
            match policy::two_digits(line) {
                Some(code) => Some(code),
                None => {
                    let question = self.number_question(&proposal);
                    self.mode = Mode::Number(id, proposal);
                    return vec![Say(self.words.two_digits().to_owned()), question];
                }
            }
        } else if is(line, YES) {
            None
        } else {
            let question = self.number_question(&proposal);
            self.mode = Mode::Number(id, proposal);
            return vec![question];
        };
        let mut effects = vec![Say(format!("  {}", self.words.always_shared()))];
        let missing: Vec<_> =
            proposal.claims.iter().filter(|c| c.value.is_none()).map(|c| c.name.as_str()).collect();
        if !missing.is_empty() {
            effects.push(Say(format!("  {}", self.words.not_in_profile(&missing))));
        }
        let approval = Approval { match_code, scopes: None, share: BTreeSet::new() };
        effects.extend(self.ask_share(id, proposal, approval, 0));
        effects
    }

    fn on_share(
        &mut self,
        id: ChallengeId,
        proposal: Proposal,
        mut approval: Approval,
        at: usize,
        line: &str,
    ) -> Vec<Effect> {
        if let Some(effects) = self.on_no(id, line, true) {
            return effects;
        }
        let Some(claim) = proposal.claims.get(at) else { return Vec::new() };
        let share = match line {
            "" => claim.share,
            line if is(line, YES) => true,
            line if is(line, &["n", "no", "아니", "아니요", "ㄴ"]) => false,
            _ => {
                let mut effects = vec![Say(self.words.yes_or_no().to_owned())];
                effects.extend(self.ask_share(id, proposal, approval, at));
                return effects;
            }
        };
        if share {
            approval.share.insert(claim.name.clone());
        }
        self.ask_share(id, proposal, approval, at + 1)
    }

    /// Asks about the next claim that the profile has, or sends the yes.
    fn ask_share(
        &mut self,
        id: ChallengeId,
        proposal: Proposal,
        approval: Approval,
        from: usize,
    ) -> Vec<Effect> {
        let rest = proposal.claims.iter().enumerate().skip(from);
        let next = rest.into_iter().find_map(|(at, claim)| Some((at, claim.value.as_deref()?, claim)));
        if let Some((at, value, claim)) = next {
            let question = Ask(format!("  {}", self.words.share_prompt(&claim.name, value, claim.share)));
            self.mode = Mode::Share { id, proposal, approval, at };
            return vec![question];
        }
        self.mode = Mode::Busy(id);
        vec![Effect::Approve(id, approval)]
    }

    /// Deny, not me, skip: possible at the number; at a claim `n` is an answer.
    fn on_no(&mut self, id: ChallengeId, line: &str, at_claim: bool) -> Option<Vec<Effect>> {
        let effects = if is(line, &["d", "deny", "거절"]) {
            self.mode = Mode::Busy(id);
            vec![Effect::Deny(id, DenyReason::Declined)]
        } else if !at_claim && is(line, &["n", "not me", "내가 아니에요"]) {
            self.mode = Mode::Busy(id);
            vec![Effect::Deny(id, DenyReason::NotMe)]
        } else if is(line, &["s", "skip", "건너뛰기"]) {
            self.mode = Mode::Idle;
            self.skipped.insert(id);
            let mut effects = vec![Say(self.words.skipped().to_owned())];
            effects.extend(self.go_on());
            effects
        } else {
            return None;
        };
        Some(effects)
    }

    /// Takes up the newest request that nobody has answered or skipped.
    fn go_on(&mut self) -> Vec<Effect> {
        if !self.input_open || !matches!(self.mode, Mode::Idle) {
            return Vec::new();
        }
        let open = |known: &&Known| {
            known.standing == Standing::Pending && !self.skipped.contains(&known.request.challenge_id)
        };
        match self.known.iter().find(open).map(|known| known.request.challenge_id) {
            Some(id) => {
                self.mode = Mode::Fetching(id);
                vec![Effect::Propose(id)]
            }
            None => Vec::new(),
        }
    }

    fn overtaken(&mut self, text: String) -> Vec<Effect> {
        self.mode = if self.input_open { Mode::Overtaken } else { Mode::Idle };
        let mut effects = vec![Say(String::new()), Say(text)];
        if self.input_open {
            effects.push(Ask(self.words.press_enter().to_owned()));
        }
        effects
    }

    fn question_again(&self) -> Vec<Effect> {
        match &self.mode {
            Mode::Number(_, proposal) => vec![self.number_question(proposal)],
            Mode::Share { proposal, at, .. } => match proposal.claims.get(*at) {
                Some(claim) => {
                    let value = claim.value.as_deref().unwrap_or_default();
                    vec![Ask(format!("  {}", self.words.share_prompt(&claim.name, value, claim.share)))]
                }
                None => Vec::new(),
            },
            Mode::Overtaken => vec![Ask(self.words.press_enter().to_owned())],
            _ => Vec::new(),
        }
    }

    fn shown(&self, request: &SignInRequest, now: Timestamp) -> Vec<Effect> {
        let words = self.words;
        let left_s = request.expires_at.millis().saturating_sub(now.millis()).max(0) / 1000;
        let left = format!("{}:{:02}", left_s / 60, left_s % 60);
        let mut effects = vec![Say(String::new()), Say(words.asks(request))];
        if !request.binding_message.is_empty() {
            effects.push(Say(format!("  {}", words.their_words(&request.binding_message))));
        }
        effects.push(Say(format!("  {}", words.circumstances(request, &left))));
        effects
    }

    fn number_question(&self, proposal: &Proposal) -> Effect {
        let prompt = if proposal.needs_number { self.words.number_prompt() } else { self.words.yes_prompt() };
        Ask(format!("  {prompt}"))
    }

    /// Whether a question about this request stands open.
    fn is_asked(&self, id: ChallengeId) -> bool {
        matches!(&self.mode, Mode::Number(asked, _) | Mode::Share { id: asked, .. } if *asked == id)
    }

    fn find(&self, id: ChallengeId) -> Option<&Known> {
        self.known.iter().find(|known| known.request.challenge_id == id)
    }

    fn service(&self, id: ChallengeId) -> String {
        self.find(id).map(|known| known.request.service.name.clone()).unwrap_or_default()
    }
}

const YES: &[&str] = &["y", "yes", "예", "네", "ㅇ"];

fn is(line: &str, words: &[&str]) -> bool {
    let line = line.to_lowercase();
    words.contains(&line.as_str())
}

#[cfg(test)]
mod tests {
    use miid_protocol::service::ExpireReason;
    use miid_protocol::{Lifetime, SessionId};

    use super::*;
    use crate::policy::ProposedClaim;
    use crate::request::tests::{T, id, sample};

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
        assert!(
            text.contains("not in your profile: age") && text.contains("name \"Alice Kim\" [Y/n]"),
            "{text}"
        );
        assert!(said(&dialogue.on_line("")).contains("email \"alice@example.com\" [y/N]"));
        let share = ["name".to_owned()].into();
        let approval = Approval { match_code: Some("47".into()), scopes: None, share };
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
        let did = crate::identity::Identity::generate(&crate::entropy::SystemEntropy)
            .expect("random")
            .did()
            .clone();
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
        let gone =
            WalletUpdate::Disconnected { reason: "the gateway closed the stream".into(), retry_in_ms: 1 };
        assert_eq!(dialogue.on_update(&gone, T), []);
        assert_eq!(dialogue.on_update(&gone, T).len(), 1);
        assert_eq!(dialogue.on_update(&gone, T), []);
        let did = crate::identity::Identity::generate(&crate::entropy::SystemEntropy)
            .expect("random")
            .did()
            .clone();
        let back = WalletUpdate::Connected { did, gateway: crate::vault::tests::gateway() };
        assert_eq!(dialogue.on_update(&back, T), [Say("Connected again.".into())]);
    }
}
