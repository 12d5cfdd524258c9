//! Following the gateway: connections one after the other, events as they come, lists where something may have
//! been missed, and the clock that ends what nobody answers.

use std::sync::Arc;
use std::time::Duration;

use miid_protocol::ChallengeId;
use miid_protocol::events::WalletEvent;
use miid_protocol::problem::ErrorCode;
use tokio::time::Instant;

use super::{Connection, Inner};
use crate::client::ClientError;
use crate::queue::Standing;
use crate::request::Request;
use crate::stream::{Backoff, StreamEnd};
use crate::update::WalletUpdate;

impl Inner {
    /// Connects again and again until it is stopped or the gateway will not have this identity.
    pub(super) async fn follow(self: &Arc<Self>) {
        let mut backoff = Backoff::new(self.settings);
        let mut position: Option<String> = None;
        loop {
            self.state().connection = Connection::Connecting;
            let Away { reason, retry_after, is_final } = self.listen(&mut position, &mut backoff).await;
            if is_final {
                return self.stop_for_good(reason).await;
            }
            if self.is_locked() {
                // What was open stayed open; there is no key to open it anew.
                self.state().connection = Connection::Idle;
                return;
            }
            let wait = backoff.wait(retry_after, self.client.entropy());
            self.state().connection = Connection::Disconnected { reason: reason.clone() };
            let retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.tell(WalletUpdate::Disconnected { reason, retry_in_ms });
            tokio::time::sleep(wait).await;
        }
    }

    /// One connection, from its opening to its end.
    async fn listen(self: &Arc<Self>, position: &mut Option<String>, backoff: &mut Backoff) -> Away {
        let mut stream = match self.client.events(position.as_deref()).await {
            Ok(stream) => stream,
            Err(error) => return error.into(),
        };
        let opened = Instant::now();
        // Only now: what happens while the lists are on their way is in the stream and comes after them.
        if position.is_none()
            && let Err(error) = self.read_lists().await
        {
            return error.into();
        }
        self.state().connection = Connection::Connected;
        let (did, gateway) = (self.client.did().clone(), self.client.issuer().clone());
        self.tell(WalletUpdate::Connected { did, gateway });
        loop {
            let told = stream.next(self.settings.silence).await;
            if let Some(retry) = stream.retry() {
                backoff.heed_retry(retry);
            }
            let told = match told {
                Ok(told) => told,
                Err(end) => {
                    if opened.elapsed() >= self.settings.good_after {
                        backoff.reset();
                    }
                    if matches!(end, StreamEnd::Unreadable(_)) {
                        // It would be there again; the lists lead around it.
                        *position = None;
                    }
                    tracing::info!(end = %sentence(&end), "the stream ended");
                    return Away { reason: end.to_string(), retry_after: None, is_final: false };
                }
            };
            backoff.reset();
            if let Some(event) = &told.event {
                match self.heed(event).await {
                    Ok(()) => {}
                    // It was locked while a list was on its way: the stream is still good for counting.
                    Err(ClientError::Locked) => {}
                    // The position stays before this event, so that it comes again.
                    Err(error) => return error.into(),
                }
            }
            if told.id.is_some() {
                *position = told.id;
            }
        }
    }

    async fn heed(self: &Arc<Self>, event: &WalletEvent) -> Result<(), ClientError> {
        if self.is_locked() {
            self.count_unseen(event);
            return Ok(());
        }
        if matches!(event, WalletEvent::Resync(_)) {
            self.read_lists().await?;
            self.tell(WalletUpdate::Resync);
            return Ok(());
        }
        let about = match event {
            WalletEvent::SessionCreated(made) => Some(made.challenge_id),
            WalletEvent::ChallengeExchanged(done) => Some(done.challenge_id),
            WalletEvent::ChallengeExpired(over) => Some(over.challenge_id),
            _ => None,
        };
        let request = about.and_then(|id| self.state().queue.find(id).map(|waiting| waiting.request.clone()));
        let now = self.client.now();
        for update in self.apply(|queue| queue.apply_event(event, now)) {
            self.note_surely(update, request.clone()).await;
        }
        let made_one = matches!(event, WalletEvent::SessionCreated(_));
        let asks_in_a_strange_one = match event {
            WalletEvent::ChallengeCreated(created) => self.lacks_session_of(created.challenge_id),
            _ => false,
        };
        if made_one || asks_in_a_strange_one {
            self.read_sessions().await?;
        }
        Ok(())
    }

    /// Takes requests out when they run out, also while the gateway is away.
    pub(super) async fn expire(self: &Arc<Self>) {
        loop {
            let now = self.client.now();
            let gone: Vec<_> = {
                let state = self.state();
                let over = |request: &Request| request.says().expires_at <= now;
                let waiting = state.queue.waiting().iter().filter(|w| w.standing == Standing::Pending);
                waiting.filter(|w| over(&w.request)).map(|w| w.request.clone()).collect()
            };
            for update in self.apply(|queue| queue.drop_expired(now)) {
                let WalletUpdate::Expired { challenge_id, .. } = &update else { continue };
                let request = gone.iter().find(|request| request.id() == *challenge_id);
                let request = request.cloned();
                self.note_surely(update, request).await;
            }
            let next = self.state().queue.next_expiry();
            let changed = self.changed.notified();
            match next {
                None => changed.await,
                Some(at) => {
                    let ms = u64::try_from(at.millis().saturating_sub(now.millis())).unwrap_or(0);
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep(Duration::from_millis(ms.max(1))) => {}
                    }
                }
            }
        }
    }

    pub(super) async fn read_lists(&self) -> Result<(), ClientError> {
        let asked = self.state().queue.mark();
        let (challenges, sessions) = tokio::try_join!(self.client.challenges(), self.client.sessions())?;
        let now = self.client.now();
        self.learn_where_signed_in(&sessions).await;
        self.apply(|queue| {
            let mut updates = queue.apply_challenges(&challenges, asked, now);
            updates.extend(queue.apply_sessions(sessions));
            updates
        });
        Ok(())
    }

    pub(super) async fn read_sessions(&self) -> Result<(), ClientError> {
        let sessions = self.client.sessions().await?;
        self.learn_where_signed_in(&sessions).await;
        self.apply(|queue| queue.apply_sessions(sessions));
        Ok(())
    }

    /// A retired identity is over here: said, kept, and no reason for another attempt.
    pub(super) async fn stop_for_good(&self, reason: String) {
        {
            let mut state = self.state();
            if matches!(state.connection, Connection::Stopped { .. }) {
                return;
            }
            state.connection = Connection::Stopped { reason: reason.clone() };
        }
        let (issuer, at) = (self.client.issuer().clone(), self.client.now());
        let kept = self.remembering(move |memory| memory.retired(&issuer, at)).await;
        if let Err(error) = kept {
            self.tell(WalletUpdate::NotKept { what: format!("that this identity is over: {error}") });
        }
        self.tell(WalletUpdate::Stopped { reason });
        self.over.cancel();
    }

    /// Whether a step-up waits for a session that is not in our list: the list may be old.
    pub(super) fn lacks_session_of(&self, id: ChallengeId) -> bool {
        let state = self.state();
        let waiting = state.queue.find(id).map(|waiting| waiting.request.says());
        waiting
            .is_some_and(|says| says.step_up_session.is_some() && state.queue.session_since(says).is_none())
    }

    /// A refusal that is about the identity and not about what was asked.
    pub(super) async fn heed_refusal(&self, error: &ClientError) {
        if error.code() == Some(ErrorCode::DidRetired) {
            self.stop_for_good(error.to_string()).await;
        }
    }
}

/// Why the gateway is away.
struct Away {
    reason: String,
    retry_after: Option<Duration>,
    is_final: bool,
}

impl From<ClientError> for Away {
    fn from(error: ClientError) -> Self {
        tracing::info!(error = %sentence(&error), "the gateway is away");
        let is_final = error.code() == Some(ErrorCode::DidRetired);
        Self { reason: error.to_string(), retry_after: error.retry_after(), is_final }
    }
}

/// An error with what is behind it, on one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    crate::request::plain(&text)
}
