//! What a typed line means to the question that stands open.

use miid_protocol::ChallengeId;
use miid_protocol::service::DenyReason;

use super::{Ask, Dialogue, Effect, Mode, Say};
use crate::policy::{self, Approval, Proposal};
use crate::queue::Standing;

impl Dialogue {
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
                self.go_on_or_leave()
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
        let is_under_way = matches!(self.mode, Mode::Busy(_) | Mode::Waiting(_));
        if let Some(only) = self.only {
            // Nobody will answer this one any more; what was answered is waited for.
            let is_approved = self.find(only).is_some_and(|known| known.standing == Standing::Approved);
            return if is_under_way || is_approved {
                Vec::new()
            } else {
                vec![Say(String::new()), Effect::Settled(false)]
            };
        }
        if !is_under_way {
            self.mode = Mode::Idle;
        }
        vec![Say(String::new()), Say(self.words.input_closed().to_owned())]
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
        // Confirming something tells a service nothing that it does not know.
        let mut effects = if self.is_step_up(id) {
            Vec::new()
        } else {
            vec![Say(format!("  {}", self.words.always_shared()))]
        };
        let missing: Vec<_> =
            proposal.claims.iter().filter(|c| c.value.is_none()).map(|c| c.name.as_str()).collect();
        if !missing.is_empty() {
            effects.push(Say(format!("  {}", self.words.not_in_profile(&missing))));
        }
        let approval = Approval { match_code, ..Approval::default() };
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
        if let Some(value) = line.strip_prefix('=') {
            // For this once: the profile stays as it is.
            approval.share.insert(claim.name.clone());
            approval.values.insert(claim.name.clone(), value.trim().to_owned());
            return self.ask_share(id, proposal, approval, at + 1);
        }
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

    /// The next request; a conversation about one is over with it.
    fn go_on_or_leave(&mut self) -> Vec<Effect> {
        if self.only.is_some() { vec![Effect::Settled(false)] } else { self.go_on() }
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
            effects.extend(self.go_on_or_leave());
            effects
        } else {
            return None;
        };
        Some(effects)
    }
}

const YES: &[&str] = &["y", "yes", "예", "네", "ㅇ"];

fn is(line: &str, words: &[&str]) -> bool {
    let line = line.to_lowercase();
    words.contains(&line.as_str())
}

/// Whether a line says yes, and nothing else.
pub(crate) fn is_yes(line: &str) -> bool {
    is(line, YES)
}
