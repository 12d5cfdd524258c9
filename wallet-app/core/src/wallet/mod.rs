//! A running wallet: one identity at one gateway. It follows the stream (`follow`), keeps the queue, carries
//! out decisions (`decide`) and tells its watchers. A window and a terminal drive it alike; neither decides
//! anything.

mod decide;
mod follow;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miid_protocol::request::SignInRequest;
use miid_protocol::service::DenyReason;
use miid_protocol::wallet::{DecisionOutcome, RevokeOutcome, WalletSession};
use miid_protocol::{ChallengeId, Did, Handle, Issuer, SessionId, Timestamp};
use serde::Serialize;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::{GatewayClient, SignedDecision};
use crate::history::{Entry, What};
use crate::memory::{Memory, MemoryError};
use crate::policy::{self, Approval, Proposal, Wanted};
use crate::queue::{Queue, Standing};
use crate::request::Request;
use crate::stream::StreamSettings;
use crate::update::{BACKLOG, Updates, WalletUpdate};
use crate::vault::Choice;

pub use decide::DecisionError;

/// How it stands with the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Connection {
    /// Not following: this wallet only carries out commands.
    Idle,
    /// On the way.
    Connecting,
    /// The stream is open.
    Connected,
    /// Away; another attempt follows by itself.
    Disconnected {
        /// Why.
        reason: String,
    },
    /// No further attempts.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// A request as a screen shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownRequest {
    /// Where it stands.
    pub standing: Standing,
    /// What it says.
    pub request: SignInRequest,
}

/// Everything there is to draw, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Who.
    pub did: Did,
    /// Where.
    pub gateway: Issuer,
    /// How it stands.
    pub connection: Connection,
    /// Pending and approved, newest first.
    pub requests: Vec<ShownRequest>,
    /// Live sessions, newest first.
    pub sessions: Vec<WalletSession>,
}

/// A running wallet; cheap to clone. With the last clone it stops.
#[derive(Clone)]
pub struct Wallet {
    inner: Arc<Inner>,
    _stop: Arc<DropGuard>,
}

struct Inner {
    client: GatewayClient,
    memory: Arc<dyn Memory>,
    settings: StreamSettings,
    state: Mutex<State>,
    updates: broadcast::Sender<WalletUpdate>,
    changed: Notify,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    queue: Queue,
    connection: Connection,
    deciding: HashSet<ChallengeId>,
}

impl Wallet {
    /// A wallet that carries out commands, and follows its gateway once it is told to [`follow`](Self::follow).
    pub fn new(client: GatewayClient, memory: Arc<dyn Memory>, settings: StreamSettings) -> Self {
        let stop = CancellationToken::new();
        let state = State { queue: Queue::default(), connection: Connection::Idle, deciding: HashSet::new() };
        let inner = Inner {
            client,
            memory,
            settings,
            state: Mutex::new(state),
            updates: broadcast::Sender::new(BACKLOG),
            changed: Notify::new(),
            stop: stop.clone(),
            task: Mutex::new(None),
        };
        Self { inner: Arc::new(inner), _stop: Arc::new(stop.drop_guard()) }
    }

    /// Follows the gateway from now on, until the wallet is stopped. Needs a tokio runtime. Whoever wants to
    /// hear everything [`subscribe`](Self::subscribe)s first.
    pub fn follow(&self) {
        let mut task = lock(&self.inner.task);
        if task.is_some() {
            return;
        }
        let inner = self.inner.clone();
        *task = Some(tokio::spawn(async move {
            let work = async { tokio::join!(inner.follow(), inner.expire()) };
            tokio::select! {
                () = inner.stop.cancelled() => {}
                _ = work => {}
            }
        }));
    }

    /// Ends the stream and waits until it has ended.
    pub async fn stop(self) {
        self.inner.stop.cancel();
        let task = lock(&self.inner.task).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    /// Everything that there is to draw.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.inner.state();
        let shown = state.queue.waiting().iter().map(|waiting| ShownRequest {
            standing: waiting.standing,
            request: waiting.request.says().clone(),
        });
        Snapshot {
            did: self.inner.client.did().clone(),
            gateway: self.inner.client.issuer().clone(),
            connection: state.connection.clone(),
            requests: shown.collect(),
            sessions: state.queue.sessions().to_vec(),
        }
    }

    /// What changes from now on. Subscribe first and look at the snapshot then.
    pub fn subscribe(&self) -> Updates {
        Updates(self.inner.updates.subscribe())
    }

    /// This moment, by the gateway's clock: for countdowns.
    pub fn now(&self) -> Timestamp {
        self.inner.client.now()
    }

    /// What to offer for a pending request.
    pub async fn proposal(&self, id: ChallengeId) -> Result<Proposal, DecisionError> {
        let request = self.inner.waiting(id, Standing::Pending)?;
        let issuer = self.inner.client.issuer().clone();
        let service = request.says().service.id.clone();
        let read =
            self.inner.remembering(move |memory| Ok((memory.profile()?, memory.choice(&issuer, &service)?)));
        let (profile, choice) = read.await?;
        Ok(policy::propose(&request, &profile, choice.as_ref().map(|choice| &choice.shared)))
    }

    /// Yes. The number, the ticks and the scopes are the person's.
    pub async fn approve(
        &self,
        id: ChallengeId,
        approval: &Approval,
    ) -> Result<DecisionOutcome, DecisionError> {
        let request = self.inner.waiting(id, Standing::Pending)?;
        let _turn = self.inner.take_turn(id)?;
        let profile = self.inner.remembering(|memory| memory.profile()).await?;
        let granted = policy::grant(&request, &profile, approval)?;
        let decision = self.inner.client.sign_approval(&request, &granted)?;
        let shared: BTreeSet<String> = granted.claims.keys().cloned().collect();
        let result = self.inner.carry_out(&request, Wanted::Approve, &decision).await;
        let entry = self.inner.decided(What::Approved, &request, &decision, outcome_word(&result));
        self.inner.record(Entry { shared: shared.iter().cloned().collect(), ..entry }).await;
        let outcome = result?;
        let (issuer, service) = (self.inner.client.issuer().clone(), request.says().service.id.clone());
        let choice = Choice { shared, at: self.now() };
        let kept = self.inner.remembering(move |memory| memory.remember(&issuer, &service, choice)).await;
        if let Err(error) = kept {
            self.inner.tell(WalletUpdate::NotKept { what: format!("what was shared: {error}") });
        }
        Ok(outcome)
    }

    /// No.
    pub async fn deny(&self, id: ChallengeId, reason: DenyReason) -> Result<DecisionOutcome, DecisionError> {
        let request = self.inner.waiting(id, Standing::Pending)?;
        let _turn = self.inner.take_turn(id)?;
        let decision = self.inner.client.sign_denial(&request, reason)?;
        let result = self.inner.carry_out(&request, Wanted::Deny, &decision).await;
        let entry = self.inner.decided(What::Denied, &request, &decision, outcome_word(&result));
        self.inner.record(Entry { reason: Some(reason.as_str().to_owned()), ..entry }).await;
        result
    }

    /// Takes a yes back, as long as the service has made no session of it.
    pub async fn cancel(&self, id: ChallengeId) -> Result<DecisionOutcome, DecisionError> {
        let request = self.inner.waiting(id, Standing::Approved)?;
        let _turn = self.inner.take_turn(id)?;
        let decision = self.inner.client.sign_cancellation(&request)?;
        let result = self.inner.carry_out(&request, Wanted::Cancel, &decision).await;
        self.inner
            .record(self.inner.decided(What::Cancelled, &request, &decision, outcome_word(&result)))
            .await;
        result
    }

    /// Ends a session.
    pub async fn revoke(&self, id: SessionId) -> Result<RevokeOutcome, DecisionError> {
        let session = match self.inner.session(id) {
            Some(session) => session,
            None => {
                self.inner.read_sessions().await?;
                self.inner.session(id).ok_or(DecisionError::UnknownSession)?
            }
        };
        let decision = self.inner.client.sign_revocation(&session.service.id, id)?;
        let result = self.inner.end_session(id, &decision).await;
        let outcome = match &result {
            Ok(_) => "done",
            Err(error) => error.code(),
        };
        let entry = Entry {
            session_id: Some(id),
            service_id: Some(session.service.id.clone()),
            service_name: Some(session.service.name.clone()),
            statement: Some(decision.statement().to_owned()),
            ..self.inner.entry(What::Revoked, outcome)
        };
        self.inner.record(entry).await;
        let ended = result?;
        self.inner.tell_session_ended(id, ended.at);
        Ok(ended)
    }

    /// Reads the sessions anew.
    pub async fn sessions(&self) -> Result<Vec<WalletSession>, DecisionError> {
        self.inner.read_sessions().await?;
        Ok(self.inner.state().queue.sessions().to_vec())
    }

    /// Reads both lists anew, as after a resync.
    pub async fn refresh(&self) -> Result<(), DecisionError> {
        Ok(self.inner.read_lists().await?)
    }

    /// Claims a handle at this gateway; `None` releases the one held.
    pub async fn set_handle(&self, handle: Option<&Handle>) -> Result<Option<Handle>, DecisionError> {
        let held = self.inner.client.set_handle(handle).await?;
        let (issuer, remembered) = (self.inner.client.issuer().clone(), held.clone());
        self.inner.remembering(move |memory| memory.hold(&issuer, remembered)).await?;
        Ok(held)
    }
}

/// What is known and written down.
impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes the queue and tells about it, in one step, so that every watcher hears things in their order.
    fn apply(&self, step: impl FnOnce(&mut Queue) -> Vec<WalletUpdate>) -> Vec<WalletUpdate> {
        let mut state = self.state();
        let updates = step(&mut state.queue);
        for update in &updates {
            // Nobody listening is fine.
            let _ = self.updates.send(update.clone());
        }
        drop(state);
        if !updates.is_empty() {
            self.changed.notify_one();
        }
        updates
    }

    fn tell(&self, update: WalletUpdate) {
        let _ = self.updates.send(update);
    }

    fn waiting(&self, id: ChallengeId, standing: Standing) -> Result<Arc<Request>, DecisionError> {
        let state = self.state();
        let found = state.queue.find(id).filter(|waiting| waiting.standing == standing);
        found.map(|waiting| waiting.request.clone()).ok_or(DecisionError::UnknownRequest)
    }

    fn session(&self, id: SessionId) -> Option<WalletSession> {
        self.state().queue.sessions().iter().find(|session| session.session_id == id).cloned()
    }

    /// Uses the memory, which may touch the disk, without holding up the stream.
    async fn remembering<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Memory) -> Result<T, MemoryError> + Send + 'static,
    ) -> Result<T, MemoryError> {
        let memory = self.memory.clone();
        match tokio::task::spawn_blocking(move || work(&*memory)).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    async fn record(&self, entry: Entry) {
        if let Err(error) = self.remembering(move |memory| memory.record(&entry)).await {
            tracing::warn!(%error, "the history could not be written");
            self.tell(WalletUpdate::NotKept { what: format!("the history: {error}") });
        }
    }

    /// Writes down what happened without our doing.
    async fn note(&self, update: &WalletUpdate, request: Option<&Request>) {
        let service = request.map(|request| request.says().service.clone());
        let entry = |what, reason: Option<&str>| Entry {
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
            WalletUpdate::Expired { challenge_id, reason } => {
                let request = request.map(|request| request.text().to_owned());
                let entry = entry(What::Expired, Some(reason.as_str()));
                Entry { challenge_id: Some(*challenge_id), request, ..entry }
            }
            WalletUpdate::SessionRevoked { session_id, reason, service, .. } => {
                let entry = entry(What::SessionEnded, Some(reason.as_str()));
                Entry { session_id: Some(*session_id), service_name: service.clone(), ..entry }
            }
            _ => return,
        };
        self.record(entry).await;
    }

    fn entry(&self, what: What, outcome: &str) -> Entry {
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
            shared: Vec::new(),
            reason: None,
            statement: None,
            request: None,
        }
    }

    fn decided(&self, what: What, request: &Request, decision: &SignedDecision, outcome: &str) -> Entry {
        Entry {
            challenge_id: Some(request.id()),
            service_id: Some(request.says().service.id.clone()),
            service_name: Some(request.says().service.name.clone()),
            statement: Some(decision.statement().to_owned()),
            request: Some(request.text().to_owned()),
            ..self.entry(what, outcome)
        }
    }
}

fn outcome_word(result: &Result<DecisionOutcome, DecisionError>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(error) => error.code(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
