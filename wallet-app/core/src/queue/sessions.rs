//! The sessions that live, and a little about those that did.

use std::collections::VecDeque;

use miid_protocol::SessionId;
use miid_protocol::events::SessionRevoked;
use miid_protocol::wallet::WalletSession;

use crate::update::WalletUpdate;

/// How many ended ones are remembered, and how many names.
const MAX_REMEMBERED: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: Vec<WalletSession>,
    ended: VecDeque<SessionId>,
    /// Services of sessions listed before: the event that ends one may come after a list without it.
    names: VecDeque<(SessionId, String)>,
}

impl Sessions {
    pub(super) fn live(&self) -> &[WalletSession] {
        &self.live
    }

    /// The whole list, which may be older than what the stream has said; how many live.
    pub(super) fn replace(&mut self, list: Vec<WalletSession>) -> usize {
        self.live = list;
        for session in &self.live {
            if !self.names.iter().any(|(id, _)| *id == session.session_id) {
                self.names.push_back((session.session_id, session.service.name.clone()));
            }
        }
        while self.names.len() > MAX_REMEMBERED {
            self.names.pop_front();
        }
        self.live.retain(|session| !self.ended.contains(&session.session_id));
        self.live.len()
    }

    /// One ended; `None` where that is known, and where the session never was: neither listed nor the outcome of a
    /// request, so there is nothing that the person could miss.
    pub(super) fn end(&mut self, revoked: &SessionRevoked, came_of_a_request: bool) -> Option<WalletUpdate> {
        let id = revoked.session_id;
        if self.ended.contains(&id) {
            return None;
        }
        self.ended.push_back(id);
        if self.ended.len() > MAX_REMEMBERED {
            self.ended.pop_front();
        }
        let service = self.names.iter().find(|(known, _)| *known == id).map(|(_, name)| name.clone());
        self.live.retain(|session| session.session_id != id);
        if service.is_none() && !came_of_a_request {
            return None;
        }
        Some(WalletUpdate::SessionRevoked { session_id: id, reason: revoked.reason, service, at: revoked.at })
    }
}
