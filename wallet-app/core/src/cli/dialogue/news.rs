//! What the wallet tells, and what of it is said to the person: at once where nothing stands open, on a line of its
//! own under a question.

use miid_protocol::request::SignInRequest;
use miid_protocol::service::DenyReason;
use miid_protocol::{ChallengeId, Timestamp};

use super::{Ask, Dialogue, Effect, Known, Mode, Say};
use crate::queue::Standing;
use crate::update::WalletUpdate;
use crate::wallet::ShownRequest;

impl Dialogue {
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
        if self.only.is_some_and(|only| is_about_another(update, only)) {
            return Vec::new();
        }
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
            // What was taken by a link is known before its news comes.
            WalletUpdate::ChallengeCreated { challenge_id, .. } if self.find(*challenge_id).is_some() => {
                Vec::new()
            }
            WalletUpdate::ChallengeCreated { request, .. } => {
                self.on_created(request, Standing::Pending, now)
            }
            WalletUpdate::ChallengeRefused { reason, .. } => vec![Say(words.refused_request(reason))],
            WalletUpdate::Approved { challenge_id } => self.on_approved(*challenge_id),
            WalletUpdate::Cancelled { challenge_id } => self.on_cancelled(*challenge_id),
            WalletUpdate::Denied { challenge_id, reason } => {
                let not_me = self.find(*challenge_id).filter(|_| *reason == DenyReason::NotMe);
                let hint = not_me.map(|known| words.mute_hint(known.request.service.id.as_str()));
                let is_step_up = self.is_step_up(*challenge_id);
                let say = |service: &str| match is_step_up {
                    true => words.denied_step_up(service, *reason),
                    false => words.denied(service, *reason),
                };
                let mut effects = self.on_end(*challenge_id, say, false);
                if let Some(hint) = hint {
                    effects.insert(effects.len().min(1), Say(hint));
                }
                effects
            }
            WalletUpdate::Expired { challenge_id, reason } => {
                let is_step_up = self.is_step_up(*challenge_id);
                let say = |service: &str| match is_step_up {
                    true => words.expired_step_up(service, *reason),
                    false => words.expired(service, *reason),
                };
                self.on_end(*challenge_id, say, false)
            }
            WalletUpdate::Gone { challenge_id } => {
                self.on_end(*challenge_id, |service| words.gone(service), false)
            }
            WalletUpdate::Active { challenge_id, .. } => {
                self.on_end(*challenge_id, |service| words.signed_in(service), true)
            }
            WalletUpdate::Confirmed { challenge_id, .. } => {
                self.on_end(*challenge_id, |service| words.confirmed(service), true)
            }
            WalletUpdate::SessionRevoked { service, reason, .. } => {
                let service = service.as_deref().map(crate::request::plain);
                vec![Say(words.session_ended(service.as_deref(), *reason))]
            }
            WalletUpdate::NotKept { what } => vec![Say(words.not_kept(what))],
            WalletUpdate::OneClick { service, .. } => vec![Say(words.one_click(service))],
            WalletUpdate::Sessions { .. }
            | WalletUpdate::Resync
            | WalletUpdate::Missed
            | WalletUpdate::Unseen { .. }
            | WalletUpdate::UnseenOver { .. } => Vec::new(),
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
            let id = shown.request.challenge_id;
            if self.find(id).is_none() && self.only.is_none_or(|only| only == id) {
                effects.extend(self.on_created(&shown.request, shown.standing, now));
            }
        }
        effects
    }

    fn on_created(&mut self, request: &SignInRequest, standing: Standing, now: Timestamp) -> Vec<Effect> {
        let place = self.known.iter().position(|known| known.request.created_at <= request.created_at);
        let known = Known { request: request.clone(), standing };
        self.known.insert(place.unwrap_or(self.known.len()), known);
        if standing == Standing::Approved {
            return Vec::new();
        }
        if self.muted.contains(&request.service.id) {
            // It stands in the list, and comes to no front.
            self.skipped.insert(request.challenge_id);
            return vec![Say(self.words.muted_asks(&request.service.name))];
        }
        if !self.input_open {
            return self.shown(request, None, now);
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

    fn overtaken(&mut self, text: String) -> Vec<Effect> {
        self.mode = if self.input_open { Mode::Overtaken } else { Mode::Idle };
        let mut effects = vec![Say(String::new()), Say(text)];
        if self.input_open {
            effects.push(Ask(self.words.press_enter().to_owned()));
        }
        effects
    }
}

/// What a conversation about one request passes over.
fn is_about_another(update: &WalletUpdate, only: ChallengeId) -> bool {
    match update {
        WalletUpdate::ChallengeCreated { challenge_id, .. }
        | WalletUpdate::ChallengeRefused { challenge_id, .. }
        | WalletUpdate::Approved { challenge_id }
        | WalletUpdate::Cancelled { challenge_id }
        | WalletUpdate::Denied { challenge_id, .. }
        | WalletUpdate::Expired { challenge_id, .. }
        | WalletUpdate::Active { challenge_id, .. }
        | WalletUpdate::Confirmed { challenge_id, .. }
        | WalletUpdate::Gone { challenge_id } => *challenge_id != only,
        // That a rule answered was said when the link was opened.
        WalletUpdate::SessionRevoked { .. } | WalletUpdate::OneClick { .. } => true,
        WalletUpdate::Connected { .. }
        | WalletUpdate::Disconnected { .. }
        | WalletUpdate::Stopped { .. }
        | WalletUpdate::Sessions { .. }
        | WalletUpdate::Unseen { .. }
        | WalletUpdate::UnseenOver { .. }
        | WalletUpdate::Resync
        | WalletUpdate::NotKept { .. }
        | WalletUpdate::Missed => false,
    }
}
