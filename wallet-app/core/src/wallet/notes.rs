//! What is written down.

use std::sync::Arc;

use super::Inner;
use crate::client::SignedDecision;
use crate::history::{Entry, What};
use crate::request::Request;
use crate::update::WalletUpdate;

impl Inner {
    pub(super) async fn record(&self, entry: Entry) {
        if let Err(error) = self.remembering(move |memory| memory.record(&entry)).await {
            tracing::warn!(%error, "the history could not be written");
            self.tell(WalletUpdate::NotKept { what: format!("the history: {error}") });
        }
    }

    /// Writes it down, also where the wallet is stopped meanwhile: whoever watches hears of it first, and may be
    /// gone before it is kept.
    pub(super) async fn note_surely(self: &Arc<Self>, update: WalletUpdate, request: Option<Arc<Request>>) {
        let inner = self.clone();
        let note = self.notes.spawn(async move { inner.note(&update, request.as_deref()).await });
        if let Err(error) = note.await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }

    /// Writes down what happened without our doing.
    pub(super) async fn note(&self, update: &WalletUpdate, request: Option<&Request>) {
        let service = request.map(|request| request.says().service.clone());
        if let (WalletUpdate::Active { .. }, Some(service)) = (update, &service) {
            self.signed_in(service.id.clone()).await;
        }
        let entry = |what, reason: Option<&str>| Entry {
            step_up: request.and_then(Request::step_up).map(str::to_owned),
            service_id: service.as_ref().map(|service| service.id.clone()),
            service_name: service.as_ref().map(|service| service.name.clone()),
            reason: reason.map(str::to_owned),
            ..self.entry(what, "done")
        };
        let entry = match update {
            WalletUpdate::Active { challenge_id, session_id } => Entry {
                challenge_id: Some(*challenge_id),
                session_id: Some(*session_id),
                ..entry(What::SignedIn, None)
            },
            WalletUpdate::Confirmed { challenge_id, session_id } => Entry {
                challenge_id: Some(*challenge_id),
                session_id: Some(*session_id),
                ..entry(What::Confirmed, None)
            },
            WalletUpdate::Expired { challenge_id, reason } => {
                // Without its text: nothing was signed about it, and whoever may ask could fill the file with it.
                // A step-up's few words stay: only a service with a live session can ask for one.
                let entry = entry(What::Expired, Some(reason.as_str()));
                Entry { challenge_id: Some(*challenge_id), ..entry }
            }
            WalletUpdate::SessionRevoked { session_id, reason, service, .. } => {
                let entry = entry(What::SessionEnded, Some(reason.as_str()));
                Entry { session_id: Some(*session_id), service_name: service.clone(), ..entry }
            }
            _ => return,
        };
        self.record(entry).await;
    }

    pub(super) fn entry(&self, what: What, outcome: &str) -> Entry {
        Entry {
            at: self.client.now(),
            did: self.client.did().clone(),
            gateway: self.client.issuer().clone(),
            what,
            outcome: outcome.to_owned(),
            challenge_id: None,
            session_id: None,
            service_id: None,
            service_name: None,
            step_up: None,
            shared: Vec::new(),
            reason: None,
            statement: None,
            request: None,
        }
    }

    pub(super) fn decided(
        &self,
        what: What,
        request: &Request,
        decision: &SignedDecision,
        outcome: &str,
    ) -> Entry {
        Entry {
            challenge_id: Some(request.id()),
            service_id: Some(request.says().service.id.clone()),
            service_name: Some(request.says().service.name.clone()),
            session_id: request.says().step_up_session,
            step_up: request.step_up().map(str::to_owned),
            statement: Some(decision.statement().to_owned()),
            request: Some(request.text().to_owned()),
            ..self.entry(what, outcome)
        }
    }
}
