//! A running wallet: one identity at one gateway. It follows the stream (`follow`), keeps the queue, takes links
//! (`links`), carries out decisions (`decide`), keeps what was chosen and what happened (`choices`, `notes`), tells
//! its watchers, and can be locked (`lock`). A window and a terminal drive it alike; neither decides anything.

mod choices;
mod decide;
mod follow;
mod links;
mod lock;
mod notes;
mod snapshot;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miid_protocol::problem::ErrorCode;
use miid_protocol::service::DenyReason;
use miid_protocol::wallet::{DecisionOutcome, RevokeOutcome, WalletSession};
use miid_protocol::{ChallengeId, Handle, SessionId, Timestamp};
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::client::{ClientError, GatewayClient};
use crate::history::{Entry, What};
use crate::memory::{Memory, MemoryError};
use crate::policy::{self, Approval, Proposal, Ticks, Wanted};
use crate::profile::Profile;
use crate::queue::{Queue, Standing};
use crate::request::Request;
use crate::rules::Verdict;
use crate::stream::StreamSettings;
use crate::update::{BACKLOG, Updates, WalletUpdate};
use crate::vault::Choice;
use lock::Unseen;

pub use decide::DecisionError;
pub use links::OneClick;
pub use snapshot::{Connection, Retired, ShownRequest, Snapshot};

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
    /// The identity is retired: nothing follows any more.
    over: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
    /// What is being written down of what was heard: finished before the wallet has stopped.
    notes: TaskTracker,
}

struct State {
    queue: Queue,
    connection: Connection,
    deciding: HashSet<ChallengeId>,
    /// `Some` once it was locked.
    unseen: Option<Unseen>,
}

impl Wallet {
    /// A wallet that carries out commands, and follows its gateway once it is told to [`follow`](Self::follow).
    pub fn new(client: GatewayClient, memory: Arc<dyn Memory>, settings: StreamSettings) -> Self {
        let stop = CancellationToken::new();
        let state = State {
            queue: Queue::new(client.issuer().clone(), client.did().clone()),
            connection: Connection::Idle,
            deciding: HashSet::new(),
            unseen: None,
        };
        let inner = Inner {
            client,
            memory,
            settings,
            state: Mutex::new(state),
            updates: broadcast::Sender::new(BACKLOG),
            changed: Notify::new(),
            stop: stop.clone(),
            over: CancellationToken::new(),
            task: Mutex::new(None),
            notes: TaskTracker::new(),
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
                () = inner.over.cancelled() => {}
                _ = work => {}
            }
        }));
    }

    /// Ends the stream, and waits until it has ended and what was heard is written down.
    pub async fn stop(self) {
        self.inner.stop.cancel();
        let task = lock(&self.inner.task).take();
        if let Some(task) = task {
            let _ = task.await;
        }
        self.inner.notes.close();
        self.inner.notes.wait().await;
    }

    /// What changes from now on. Subscribe first and look at the snapshot then.
    pub fn subscribe(&self) -> Updates {
        Updates(self.inner.updates.subscribe())
    }

    /// This moment, by the gateway's clock: for countdowns.
    pub fn now(&self) -> Timestamp {
        self.inner.client.now()
    }

    /// What to offer for a pending request: what a rule names, else what was shared last time.
    pub async fn proposal(&self, id: ChallengeId) -> Result<Proposal, DecisionError> {
        let request = self.inner.waiting(id, Standing::Pending)?;
        let (issuer, service) = (self.inner.client.issuer().clone(), request.says().service.id.clone());
        let verdict = self.verdict(id).await?;
        let read = self.inner.remembering(|memory| Ok((memory.profile()?, memory.services()?)));
        let (profile, services) = read.await?;
        let last_time = services.choice(&issuer, &service).map(|choice| &choice.shared);
        let ticks = match &verdict {
            Verdict::Prefill(share) => Ticks::Rule(share),
            Verdict::ApproveAlone(approval) => Ticks::Rule(&approval.share),
            Verdict::Ask => last_time.map_or(Ticks::First, Ticks::LastTime),
        };
        let known_service = services.has_signed_in(&issuer, &service);
        let session_since = self.inner.state().queue.session_since(request.says());
        Ok(Proposal { session_since, ..policy::propose(&request, &profile, ticks, known_service) })
    }

    /// Yes. The number, the ticks and the scopes are the person's.
    pub async fn approve(
        &self,
        id: ChallengeId,
        approval: &Approval,
    ) -> Result<DecisionOutcome, DecisionError> {
        self.approve_shown(id, None, approval).await
    }

    /// Yes to exactly the text of that digest, where one is named: what was on the screen.
    pub async fn approve_shown(
        &self,
        id: ChallengeId,
        digest: Option<&str>,
        approval: &Approval,
    ) -> Result<DecisionOutcome, DecisionError> {
        let request = self.inner.waiting_shown(id, digest)?;
        let _turn = self.inner.take_turn(id)?;
        let profile = self.inner.remembering(|memory| memory.profile()).await?;
        self.sign_yes(What::Approved, &request, &profile, approval).await
    }

    /// Signs a yes, sends it, writes it down. Whoever calls it has the turn.
    async fn sign_yes(
        &self,
        what: What,
        request: &Request,
        profile: &Profile,
        approval: &Approval,
    ) -> Result<DecisionOutcome, DecisionError> {
        let granted = policy::grant(request, profile, approval)?;
        let decision = self.inner.client.sign_approval(request, &granted)?;
        let shared: BTreeSet<String> = granted.claims.keys().cloned().collect();
        let result = self.inner.carry_out(request, Wanted::Approve, &decision).await;
        let entry = self.inner.decided(what, request, &decision, outcome_word(&result));
        self.inner.record(Entry { shared: shared.iter().cloned().collect(), ..entry }).await;
        let outcome = result?;
        if request.step_up().is_some() {
            // It shares nothing, and that says nothing about the next sign-in.
            return Ok(outcome);
        }
        let (issuer, service) = (self.inner.client.issuer().clone(), request.says().service.id.clone());
        let choice = Choice { shared, at: self.now() };
        let kept = self.inner.remembering(move |memory| {
            memory.change_services(&mut |services| services.remember(&issuer, &service, choice.clone()))
        });
        if let Err(error) = kept.await {
            self.inner.tell(WalletUpdate::NotKept { what: format!("what was shared: {error}") });
        }
        Ok(outcome)
    }

    /// No.
    pub async fn deny(&self, id: ChallengeId, reason: DenyReason) -> Result<DecisionOutcome, DecisionError> {
        self.deny_shown(id, None, reason).await
    }

    /// No to exactly the text of that digest, where one is named.
    pub async fn deny_shown(
        &self,
        id: ChallengeId,
        digest: Option<&str>,
        reason: DenyReason,
    ) -> Result<DecisionOutcome, DecisionError> {
        let request = self.inner.waiting_shown(id, digest)?;
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

    /// Ends this identity at this gateway, with every session, for good.
    pub async fn retire(&self) -> Result<Retired, DecisionError> {
        // Only to say how many there were; that it is retired already is no reason not to send it.
        let _ = self.inner.read_sessions().await;
        let ended = self.inner.state().queue.sessions().len();
        let statement = self.inner.client.sign_retirement()?;
        let result = self.inner.repeat(|| self.inner.client.retire(&statement)).await;
        let outcome = match &result {
            Ok(_) => "done",
            Err(error) => error.code().map_or("unreachable", ErrorCode::as_str),
        };
        let entry = self.inner.entry(What::Retired, outcome);
        self.inner.record(Entry { statement: Some(statement), ..entry }).await;
        let done = result?;
        if done.did != *self.inner.client.did() {
            return Err(ClientError::NotUnderstood.into());
        }
        self.inner.stop_for_good("it was retired".to_owned()).await;
        Ok(Retired { at: done.at, ended })
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

/// What is known.
impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes the queue and tells about it, in one step, so that every watcher hears things in their order.
    fn apply(&self, step: impl FnOnce(&mut Queue) -> Vec<WalletUpdate>) -> Vec<WalletUpdate> {
        let mut state = self.state();
        if state.unseen.is_some() {
            // What was on its way when it was locked has come too late.
            return Vec::new();
        }
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

    /// One that waits, and says what the person was shown.
    fn waiting_shown(&self, id: ChallengeId, digest: Option<&str>) -> Result<Arc<Request>, DecisionError> {
        let request = self.waiting(id, Standing::Pending)?;
        if digest.is_none_or(|digest| request.digest() == digest) {
            Ok(request)
        } else {
            Err(DecisionError::UnknownRequest)
        }
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
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going down, and we with it.
                Err(_) => std::future::pending().await,
            },
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
