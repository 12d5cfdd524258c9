//! What hangs on a session: leases. A session is one row; whatever is open because of it (a token that the edge
//! has cached, a stream or socket that it forwards) holds a [`Lease`], and there is one place where a session's
//! end reaches them all: this one.
//!
//! 1. *Open*: the first holder has the service's log followed, and only then the row read, so that no end falls
//!    between the two.
//! 2. *Check*: a look at memory. It is as good as the row while the log is heard.
//! 3. *Renew*: a session that lives on is read again once what was known of it is over.
//! 4. *Revoke*: the log says that it ended, at whatever instance. Where part of a log is gone, nobody knows who
//!    ended, so all of that service's leases are closed, and opened again by whoever asks.
//! 5. *Close*: holders that wait are woken with the [`CloseReason`].
//!
//! Wake-ups are hints and may be lost; heads of logs are therefore looked at every second. That this worked *and* that
//! a service's log was heard up to a head that was seen a moment ago is what [`Leases::is_current`] says, and nothing
//! else: a row that could be read says nothing of other rows, and a store that answers one connection may have
//! forgotten another. Whatever is asked is given up on after a while, since a server that fell silent ends nothing.

mod lease;
mod line;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use miid_protocol::events::SessionRevoked;
use miid_protocol::{ClientId, Lifetime, SessionId, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::domain::Session;
use crate::store::{Position, Store, StoreError};
use crate::streams::{Heard, StreamKey, Tail};
use line::Line;

pub use lease::{CloseReason, Lease};
pub(crate) use lease::{Shown, Signed};

/// How often heads are compared: what a lost wake-up costs at most.
const LOOK: Duration = Duration::from_secs(1);
/// Without a look for so long, or with a log that was not heard for so long, what is known is not current any more.
const CURRENT: Duration = Duration::from_secs(4);
/// How long the store may take to say what somebody waits for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Looks from one touch of the logs in use to the next: 5 minutes.
const TOUCH: u32 = 300;
/// How long a session stays known that nothing hangs on.
const KEEP: Lifetime = Lifetime::from_secs(300);
/// Known sessions, over which those that nothing hangs on are forgotten at once.
const MANY: usize = 200_000;
const SHARDS: usize = 32;

/// Every lease of this instance.
pub struct Leases {
    store: Store,
    shards: [Mutex<HashMap<SessionId, Arc<Lease>>>; SHARDS],
    /// Whose logs are followed.
    followed: RwLock<HashMap<ClientId, Arc<Followed>>>,
    stop: CancellationToken,
    begun: Instant,
    /// When heads were looked at last, in milliseconds since `begun`; 0 is never. Not by the clock on the wall, which
    /// may be set back.
    looked_at: AtomicU64,
}

/// A service whose log is followed, or about to be.
#[derive(Default)]
struct Followed {
    /// Locked while that begins, so that it begins once and nobody waits for another service's.
    opening: Arc<tokio::sync::Mutex<()>>,
    line: Mutex<Option<Arc<Line>>>,
}

impl Followed {
    /// If somebody hears it.
    fn line(&self) -> Option<Arc<Line>> {
        lock(&self.line).as_ref().filter(|line| !line.ended.is_cancelled()).cloned()
    }
}

/// Somebody hears of a service's ends; dropped, however that comes about, nobody does any more.
struct Hearing {
    leases: Arc<Leases>,
    client_id: ClientId,
    line: Arc<Line>,
}

impl Drop for Hearing {
    fn drop(&mut self) {
        // First: whoever opens a lease from here on has the log followed anew.
        self.line.ended.cancel();
        self.leases.close_all(&self.client_id);
    }
}

impl Leases {
    /// None yet.
    pub fn new(store: Store) -> Arc<Self> {
        Arc::new(Self {
            store,
            shards: std::array::from_fn(|_| Mutex::default()),
            followed: RwLock::default(),
            stop: CancellationToken::new(),
            begun: Instant::now(),
            looked_at: AtomicU64::new(0),
        })
    }

    /// The lease of a session where it is known and current: as good as its row, without asking for it.
    pub fn find(&self, id: SessionId) -> Option<Arc<Lease>> {
        let now = self.store.clock().now();
        let lease = self.known(id)?;
        lease.touched.store(now.millis(), Ordering::Relaxed);
        let is_good = || {
            lease.is_proven.load(Ordering::Acquire)
                && lease.is_known(now)
                && self.line(&lease.client_id).is_some_and(|line| self.is_as_of_now(Some(&line)))
        };
        (lease.check().is_err() || is_good()).then_some(lease)
    }

    /// A session's lease, if it has one that lives or ended for good; where one was closed for another reason, the
    /// row is asked again.
    fn known(&self, id: SessionId) -> Option<Arc<Lease>> {
        lock(self.shard(id)).get(&id).filter(|lease| lease.is_settled()).cloned()
    }

    /// The lease of a session, live or ended; `None` where this service has no such session.
    pub async fn open(
        self: &Arc<Self>,
        id: SessionId,
        client_id: &ClientId,
    ) -> Result<Option<Arc<Lease>>, StoreError> {
        in_time(self.open_by_its_row(id, client_id)).await
    }

    async fn open_by_its_row(
        self: &Arc<Self>,
        id: SessionId,
        client_id: &ClientId,
    ) -> Result<Option<Arc<Lease>>, StoreError> {
        let line = self.follow(client_id).await?;
        let now = self.store.clock().now();
        // A place first, then the row: an end that is told between the two finds the place. None for another
        // service's session, whose log may not be followed: nobody would tell of its end.
        let lease = match self.known(id) {
            Some(lease) => lease,
            None => match self.store.read().await?.session(id).await? {
                Some(session) if session.client_id == *client_id => self.place(&session, now),
                _ => return Ok(None),
            },
        };
        if lease.client_id != *client_id {
            return Ok(None);
        }
        let Some(session) = self.store.read().await?.session(id).await? else { return Ok(None) };
        self.compare(&lease, &session, now);
        lease.is_proven.store(true, Ordering::Release);
        if line.ended.is_cancelled() {
            // Those who heard are gone, and closed what they knew before this had its place.
            lease.close(CloseReason::Unknown);
        }
        Ok(Some(lease))
    }

    /// Gives a session its place, from where on it is told of its end.
    fn place(&self, session: &Session, now: Timestamp) -> Arc<Lease> {
        let mut shard = lock(self.shard(session.id));
        if shard.len() >= MANY / SHARDS {
            shard.retain(|_, lease| Arc::strong_count(lease) > 1);
        }
        let before = shard.get(&session.id);
        if let Some(lease) = before.filter(|lease| lease.is_settled()) {
            return lease.clone();
        }
        let was_here = before.is_some_and(|lease| lease.check() == Err(CloseReason::Unknown));
        let lease = Arc::new(Lease::of(session, now));
        // What had ended when it was first asked for was let through by nobody here, and its refusal is not late.
        if let Some((at, reason)) = session.revoked
            && lease.close(CloseReason::Ended(reason))
            && was_here
        {
            self.refused_from_now_on(at);
        }
        shard.insert(session.id, lease.clone());
        lease
    }

    /// What a row says about a lease.
    fn compare(&self, lease: &Lease, session: &Session, now: Timestamp) {
        if let Some((at, reason)) = session.revoked {
            if lease.close(CloseReason::Ended(reason)) {
                self.refused_from_now_on(at);
            }
        } else if !session.is_live(now) {
            // By a clock that may be set right, and until somebody refreshes: no end for good.
            lease.close(CloseReason::Expired);
        } else {
            let until = session.idle_until.min(session.expires_at);
            lease.known_until.fetch_max(until.millis(), Ordering::Relaxed);
        }
    }

    /// Whether a service's log was heard recently enough that what is not known to have ended lives. Of a service
    /// that nobody has asked for yet nothing is known that could be old.
    pub fn is_current(&self, client_id: &ClientId) -> bool {
        self.is_as_of_now(self.line(client_id).as_deref())
    }

    fn is_as_of_now(&self, line: Option<&Line>) -> bool {
        let recent = |at: u64| at != 0 && self.begun.elapsed() < Duration::from_millis(at) + CURRENT;
        recent(self.looked_at.load(Ordering::Relaxed)) && line.is_none_or(|line| recent(line.as_of()))
    }

    fn line(&self, client_id: &ClientId) -> Option<Arc<Line>> {
        self.followed.read().unwrap_or_else(PoisonError::into_inner).get(client_id)?.line()
    }

    /// Now, as moments are counted here.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// How many sessions are known.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).values().filter(|lease| lease.is_settled()).count()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Follows a service's log, once.
    async fn follow(self: &Arc<Self>, client_id: &ClientId) -> Result<Arc<Line>, StoreError> {
        if let Some(line) = self.line(client_id) {
            return Ok(line);
        }
        let followed = {
            let mut all = self.followed.write().unwrap_or_else(PoisonError::into_inner);
            all.entry(client_id.clone()).or_default().clone()
        };
        let turn = followed.opening.clone().lock_owned().await;
        if let Some(line) = followed.line() {
            return Ok(line);
        }
        let (leases, client_id) = (self.clone(), client_id.clone());
        // A task of its own: who waits for it may give up, and who comes next waits for this attempt instead of
        // beginning one more.
        let begun = tokio::spawn(async move {
            let _turn = turn;
            leases.begin_to_hear(&followed, client_id).await
        });
        begun.await.unwrap_or(Err(StoreError::Busy))
    }

    async fn begin_to_hear(
        self: Arc<Self>,
        followed: &Followed,
        client_id: ClientId,
    ) -> Result<Arc<Line>, StoreError> {
        let at = self.elapsed();
        let key = StreamKey::service(&client_id);
        let Some(tail) = Tail::open(&self.store, key).await? else { return Err(StoreError::Busy) };
        let line = Arc::new(Line::new(tail.position(), at));
        *lock(&followed.line) = Some(line.clone());
        let hearing = Hearing { leases: self, client_id, line: line.clone() };
        tokio::spawn(async move {
            let leases = &hearing.leases;
            leases.stop.run_until_cancelled(leases.hear(tail, &hearing)).await;
        });
        Ok(line)
    }

    /// Nobody tells of their ends any more. They keep their places: that they were here is known when they are
    /// opened again.
    fn close_all(&self, client_id: &ClientId) {
        for shard in &self.shards {
            for lease in lock(shard).values().filter(|lease| lease.client_id == *client_id) {
                lease.close(CloseReason::Unknown);
            }
        }
    }

    async fn hear(&self, mut tail: Tail, Hearing { client_id, line, .. }: &Hearing) {
        loop {
            match tail.next().await {
                Ok(Heard::Events(events)) => {
                    for event in events.iter().filter(|event| event.name == "session_revoked") {
                        match serde_json::from_str::<SessionRevoked>(&event.data) {
                            Ok(revoked) => self.revoke(&revoked),
                            Err(error) => tracing::error!(%error, "an event of ours is not readable"),
                        }
                    }
                }
                // Rows would tell, but there may be many, and until all are read nobody is known to live.
                Ok(Heard::Gap) => {
                    tracing::warn!(%client_id, "part of a log is gone: what hangs on its sessions begins anew");
                    self.close_all(client_id);
                }
                Ok(Heard::Closed) => return,
                Err(error) => {
                    tracing::debug!(%error, "a log could not be read; will try again");
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
            }
            line.hear(tail.position());
        }
    }

    fn revoke(&self, revoked: &SessionRevoked) {
        let lease = lock(self.shard(revoked.session_id)).get(&revoked.session_id).cloned();
        let Some(lease) = lease else { return };
        if lease.close(CloseReason::Ended(revoked.reason)) {
            self.refused_from_now_on(revoked.at);
        }
    }

    /// What was let through here until now, though it had ended then.
    fn refused_from_now_on(&self, ended: Timestamp) {
        let late = self.store.clock().now().millis().saturating_sub(ended.millis()).max(0);
        metrics::histogram!("miid_edge_revoke_seconds").record(late as f64 / 1000.0);
    }

    /// Looks whether the store is there, and wakes who missed something; forgets what nothing hangs on. Until
    /// stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for turn in 1u32.. {
            if stop.run_until_cancelled(ticks.tick()).await.is_none() {
                break;
            }
            if turn.is_multiple_of(TOUCH) {
                tokio::spawn(self.clone().touch_followed());
            }
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "heads of logs could not be looked at; will try again");
            }
            self.forget(self.store.clock().now());
            metrics::gauge!("miid_leases").set(self.len() as f64);
        }
        self.stop.cancel();
    }

    /// Says that these logs are in use: one that nothing is written to for long is swept away else, and then part of
    /// it is gone for whoever follows it.
    async fn touch_followed(self: Arc<Self>) {
        let ids: Vec<ClientId> = {
            let followed = self.followed.read().unwrap_or_else(PoisonError::into_inner);
            followed
                .iter()
                .filter(|(_, followed)| followed.line().is_some())
                .map(|(id, _)| id.clone())
                .collect()
        };
        for id in ids {
            let key = StreamKey::service(&id);
            let touching = self.store.write("open_stream", move |tx| {
                let key = key.clone();
                Box::pin(async move { tx.open_stream(&key).await })
            });
            if let Err(error) = touching.await {
                tracing::debug!(%error, "a log in use could not be touched");
            }
        }
    }

    /// Compares heads with what has been heard.
    async fn look(&self) -> Result<(), StoreError> {
        let at = self.elapsed();
        let lines: Vec<_> = {
            let followed = self.followed.read().unwrap_or_else(PoisonError::into_inner);
            let heard = |(id, followed): (&ClientId, &Arc<Followed>)| {
                let line = followed.line()?;
                let heard = line.heard();
                Some((StreamKey::service(id), line, heard))
            };
            followed.iter().filter_map(heard).collect()
        };
        let keys: Vec<StreamKey> = lines.iter().map(|(key, ..)| key.clone()).collect();
        let heads = in_time(async { self.store.read().await?.heads(&keys).await }).await?;
        let heads: HashMap<StreamKey, Position> = heads.into_iter().collect();
        for (key, line, heard) in lines {
            // A log that is not there has a head before everything, as it has for whoever reads it.
            let head = heads.get(&key).copied().unwrap_or(Position(0));
            if !line.compare(at, heard, head) {
                self.store.hub().wake(&key);
            }
        }
        self.looked_at.store(at, Ordering::Relaxed);
        Ok(())
    }

    fn forget(&self, now: Timestamp) {
        for shard in &self.shards {
            lock(shard).retain(|_, lease| {
                let touched = Timestamp::from_millis(lease.touched.load(Ordering::Relaxed));
                Arc::strong_count(lease) > 1 || now < touched.plus(KEEP)
            });
        }
    }

    fn shard(&self, id: SessionId) -> &Mutex<HashMap<SessionId, Arc<Lease>>> {
        let last = id.uuid().as_bytes()[15];
        &self.shards[usize::from(last) % SHARDS]
    }
}

/// What the store says, unless it takes too long.
async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(StoreError::Silent))
}

/// A thread that panicked while it held the lock left the map as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicI64};

    use http::HeaderValue;
    use miid_protocol::service::RevokeReason;

    use super::*;

    /// A lease on nothing.
    pub(crate) fn lease() -> Arc<Lease> {
        Arc::new(Lease {
            session: SessionId::parse("0198e0a0-0000-7000-8000-00000000000a").expect("id"),
            client_id: ClientId::parse("demo-shop").expect("id"),
            sub: "s".into(),
            scopes: Vec::new(),
            since: Timestamp::from_millis(0),
            shown: Some(Arc::new(Shown {
                subject: HeaderValue::from_static("s"),
                session: HeaderValue::from_static("0198e0a0-0000-7000-8000-00000000000a"),
                client: HeaderValue::from_static("demo-shop"),
            })),
            known_until: AtomicI64::new(i64::MAX),
            is_proven: AtomicBool::new(true),
            touched: AtomicI64::new(0),
            end: OnceLock::new(),
            closed: CancellationToken::new(),
            signed: Mutex::default(),
        })
    }

    #[tokio::test]
    async fn the_first_reason_counts_and_wakes_whoever_waits() {
        let lease = lease();
        assert!(lease.check().is_ok());
        let waiting = tokio::spawn({
            let lease = lease.clone();
            async move { lease.closed().await }
        });
        assert!(lease.close(CloseReason::Ended(RevokeReason::User)));
        assert!(!lease.close(CloseReason::Unknown));
        assert_eq!(lease.check(), Err(CloseReason::Ended(RevokeReason::User)));
        assert_eq!(waiting.await.expect("woken"), CloseReason::Ended(RevokeReason::User));
        assert_eq!(CloseReason::Expired.advice(), "refresh");
    }
    async fn leases(folder: &tempfile::TempDir) -> Arc<Leases> {
        let url = format!("sqlite://{}", folder.path().join("gateway.db").display());
        let options = crate::store::Options { url, serve: false, sqlite_normal: true };
        Leases::new(Store::open(&options, crate::clock::Clock::system()).await.expect("a store"))
    }

    #[tokio::test]
    async fn what_has_its_place_is_good_once_its_row_was_read_after_that_and_while_somebody_hears() {
        let folder = tempfile::tempdir().expect("a folder");
        let (leases, lease) = (leases(&folder).await, lease());
        lock(leases.shard(lease.session)).insert(lease.session, lease.clone());
        leases.looked_at.store(leases.elapsed(), Ordering::Relaxed);
        let line = Arc::new(Line::new(Position(0), leases.elapsed()));
        let followed = Arc::new(Followed { line: Mutex::new(Some(line.clone())), ..Followed::default() });
        leases.followed.write().expect("nobody panicked").insert(lease.client_id.clone(), followed);
        assert!(leases.find(lease.session).is_some());
        // As one that was placed, and whose second reading was given up.
        lease.is_proven.store(false, Ordering::Release);
        assert!(leases.find(lease.session).is_none());
        lease.is_proven.store(true, Ordering::Release);
        line.ended.cancel();
        assert!(leases.find(lease.session).is_none(), "nobody would tell of its end");
    }

    #[tokio::test]
    async fn where_hearing_ends_in_a_panic_everything_is_closed_and_opened_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let (leases, lease) = (leases(&folder).await, lease());
        lock(leases.shard(lease.session)).insert(lease.session, lease.clone());
        let client_id = lease.client_id.clone();
        let line = Arc::new(Line::new(Position(0), 1));
        let hearing = Hearing { leases: leases.clone(), client_id, line: line.clone() };
        let hearing = tokio::spawn(async move {
            let _hearing = hearing;
            panic!("on purpose");
        });
        assert!(hearing.await.is_err());
        assert!(line.ended.is_cancelled(), "the next lease has the log followed again");
        assert_eq!((lease.check(), leases.len()), (Err(CloseReason::Unknown), 0));
    }
}
