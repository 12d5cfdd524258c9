//! The conversation on a terminal, as a state machine without a terminal: updates, lines and answers go in,
//! things to say and to do come out. Nothing is signed but by a line that was typed to the question about it; what
//! a line means stands in [`answers`], what the wallet tells in [`news`].

mod answers;
mod news;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

pub(crate) use answers::is_yes;
use miid_protocol::request::SignInRequest;
use miid_protocol::service::{ChallengeStatus, DenyReason, Risk};
use miid_protocol::wallet::DecisionOutcome;
use miid_protocol::{ChallengeId, ClientId, Timestamp};

use super::words::Words;
use crate::policy::{Approval, Proposal};
use crate::queue::Standing;
use crate::wallet::DecisionError;

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
    /// Send the person's browser back to the page.
    Return(ChallengeId),
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
    /// Services that are not asked about for now.
    muted: HashSet<ClientId>,
    /// Talks about this one request; when that is settled the conversation is over.
    only: Option<ChallengeId>,
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
            muted: HashSet::new(),
            only: None,
            input_open: true,
            began: false,
            away: false,
            failures: 0,
        }
    }

    /// About one request that was taken by its link, and no other.
    pub(crate) fn about(words: Words, name: &str, id: ChallengeId) -> Self {
        // That it is connected is no news to somebody who has just opened a link.
        Self { only: Some(id), began: true, ..Self::new(words, name) }
    }

    /// Whom the person does not want to hear now.
    pub(crate) fn mute(&mut self, muted: HashSet<ClientId>) {
        self.muted = muted;
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
        let mut effects = self.shown(&known.request, Some(proposal.session_since), now);
        // What a session may do already is nothing to allow anew.
        if !proposal.scopes.is_empty() && known.request.risk == Risk::Normal {
            effects.push(Say(format!("  {}", self.words.allows(&proposal.scopes))));
        }
        effects.push(self.number_question(&proposal));
        self.mode = Mode::Number(id, proposal);
        effects
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
                let service = self.service(id);
                if outcome.return_to.is_some() {
                    return vec![Effect::Return(id), Say(self.words.back_to_browser(&service))];
                }
                vec![Say(self.words.waiting(&service))]
            }
            Ok(_) => self.go_on(),
            Err(error) => {
                let mut effects = vec![Say(self.words.not_decided(&error.to_string()))];
                effects.extend(self.go_on());
                effects
            }
        }
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

    /// `since` is when a step-up's session began, as far as somebody looked.
    fn shown(
        &self,
        request: &SignInRequest,
        since: Option<Option<Timestamp>>,
        now: Timestamp,
    ) -> Vec<Effect> {
        let words = self.words;
        let left_s = request.expires_at.millis().saturating_sub(now.millis()).max(0) / 1000;
        let left = format!("{}:{:02}", left_s / 60, left_s % 60);
        let mut effects = vec![Say(String::new()), Say(words.asks(request))];
        if !request.binding_message.is_empty() {
            effects.push(Say(format!("  {}", words.their_words(&request.binding_message))));
        }
        if let (Risk::StepUp, Some(since)) = (request.risk, since) {
            let since = since.map(|since| words.when(since, now));
            effects.push(Say(format!("  {}", words.in_session(since.as_deref()))));
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

    fn is_step_up(&self, id: ChallengeId) -> bool {
        self.find(id).is_some_and(|known| known.request.risk == Risk::StepUp)
    }

    fn service(&self, id: ChallengeId) -> String {
        self.find(id).map(|known| known.request.service.name.clone()).unwrap_or_default()
    }
}
