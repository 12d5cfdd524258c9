//! Who reads which stream in this instance, and the hint that there is something new.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use miid_protocol::events::HEARTBEAT_S;

use super::{LogEvent, StreamKey};

/// Hints kept for a reader that is slow: beyond, it reads the log.
const MAX_HINTS: usize = 16;
/// Shards of the registry, so that opening a stream does not wait for a commit's publication.
const SHARDS: usize = 16;

/// How many streams may be open in this instance.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of one DID or service: a wallet on several devices, or a service's instances.
    pub per_key: usize,
    /// From one address.
    pub per_address: usize,
    /// In all: each holds a socket, and a process has so many.
    pub total: usize,
    /// How long one stays open, before the reader must prove itself again.
    pub max_age: Duration,
}

/// A bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMany {
    /// From this address, or of this DID or service.
    Own,
    /// In all.
    Total,
}

/// The registry of open streams. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    shards: [Mutex<HashMap<StreamKey, Vec<Arc<Slot>>>>; SHARDS],
    addresses: Mutex<Addresses>,
    /// Streams that other instances should be told of.
    outward: Mutex<Option<tokio::sync::mpsc::UnboundedSender<StreamKey>>>,
    opened: AtomicU64,
    closing: AtomicBool,
}

#[derive(Default)]
struct Addresses {
    open: HashMap<IpAddr, usize>,
    total: usize,
}

/// What a reader is told through.
pub(super) struct Slot {
    inbox: Mutex<Inbox>,
    /// In which second of the heartbeat's period this reader gets its comment.
    phase: u64,
    opened: Instant,
}

#[derive(Default)]
struct Inbox {
    hints: VecDeque<(Arc<LogEvent>, Instant)>,
    read_log: bool,
    beat: bool,
    closed: bool,
    waker: Option<Waker>,
}

/// What a reader finds in its slot.
pub(super) enum Hint {
    /// Just committed, at this moment.
    Event(Arc<LogEvent>, Instant),
    ReadLog,
    Beat,
    Closed,
    Nothing,
}

impl Slot {
    /// Takes the next hint, or leaves the waker to be told.
    pub(super) fn take(&self, waker: &Waker) -> Hint {
        let mut inbox = lock(&self.inbox);
        if inbox.read_log {
            inbox.read_log = false;
            inbox.hints.clear();
            return Hint::ReadLog;
        }
        if let Some((event, committed)) = inbox.hints.pop_front() {
            return Hint::Event(event, committed);
        }
        if inbox.closed {
            return Hint::Closed;
        }
        if inbox.beat {
            inbox.beat = false;
            return Hint::Beat;
        }
        match &mut inbox.waker {
            Some(known) if known.will_wake(waker) => {}
            slot => *slot = Some(waker.clone()),
        }
        Hint::Nothing
    }

    fn tell(&self, change: impl FnOnce(&mut Inbox)) {
        let waker = {
            let mut inbox = lock(&self.inbox);
            change(&mut inbox);
            inbox.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Asks the reader to look into the log.
    pub(super) fn read_log(&self) {
        self.tell(|inbox| inbox.read_log = true);
    }
}

/// An open stream's place in the registry; leaves it when dropped.
pub struct Guard {
    hub: Hub,
    key: StreamKey,
    address: IpAddr,
    pub(super) slot: Arc<Slot>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut shard = lock(self.hub.shard(&self.key));
        if let Some(slots) = shard.get_mut(&self.key) {
            slots.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
            if slots.is_empty() {
                shard.remove(&self.key);
            }
        }
        drop(shard);
        let mut addresses = lock(&self.hub.0.addresses);
        addresses.total = addresses.total.saturating_sub(1);
        if let Some(open) = addresses.open.get_mut(&self.address) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                addresses.open.remove(&self.address);
            }
        }
        metrics::gauge!("miid_open_streams").set(addresses.total as f64);
    }
}

impl Hub {
    /// With nobody in it.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            shards: std::array::from_fn(|_| Mutex::default()),
            addresses: Mutex::default(),
            outward: Mutex::new(None),
            opened: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        }))
    }

    /// Takes a place, within the bounds. Events from now on reach it; the caller then asks the store
    /// for the head, so that nothing falls between the two.
    pub fn join(&self, key: StreamKey, address: IpAddr, limits: Limits) -> Result<Guard, TooMany> {
        {
            let mut addresses = lock(&self.0.addresses);
            // Wallets are many and free to make; the last places are kept for services.
            let total = if key.is_service() { limits.total } else { limits.total - limits.total / 16 };
            if addresses.total >= total || self.0.closing.load(Ordering::Relaxed) {
                return Err(TooMany::Total);
            }
            let open = addresses.open.entry(address).or_default();
            if *open >= limits.per_address {
                return Err(TooMany::Own);
            }
            *open += 1;
            addresses.total += 1;
            metrics::gauge!("miid_open_streams").set(addresses.total as f64);
        }
        let slot = Arc::new(Slot {
            inbox: Mutex::default(),
            phase: self.0.opened.fetch_add(1, Ordering::Relaxed) % HEARTBEAT_S,
            opened: Instant::now(),
        });
        let guard = Guard { hub: self.clone(), key: key.clone(), address, slot: slot.clone() };
        let mut shard = lock(self.shard(&key));
        let slots = shard.entry(key).or_default();
        if slots.len() >= limits.per_key {
            drop(shard);
            return Err(TooMany::Own);
        }
        slots.push(slot);
        drop(shard);
        Ok(guard)
    }

    /// Hands committed events to their readers here, and tells the other instances of them.
    pub fn publish(&self, log: Vec<Arc<LogEvent>>) {
        if log.is_empty() {
            return;
        }
        let committed = Instant::now();
        let outward = lock(&self.0.outward);
        if let Some(outward) = &*outward {
            for event in &log {
                let _ = outward.send(event.stream.clone());
            }
        }
        drop(outward);
        for event in log {
            let shard = lock(self.shard(&event.stream));
            for slot in shard.get(&event.stream).into_iter().flatten() {
                slot.tell(|inbox| {
                    if inbox.read_log || inbox.hints.len() >= MAX_HINTS {
                        inbox.read_log = true;
                    } else {
                        inbox.hints.push_back((event.clone(), committed));
                    }
                });
            }
        }
    }

    /// Another instance says that there is something new.
    pub fn wake(&self, key: &StreamKey) {
        for slot in lock(self.shard(key)).get(key).into_iter().flatten() {
            slot.read_log();
        }
    }

    /// Hints may have been lost: everyone looks into the log.
    pub fn wake_all(&self) {
        self.each(|slot| slot.read_log());
    }

    /// Called every second: heartbeats for one of fifteen readers each time, and the end for those
    /// that have been open too long.
    pub fn tick(&self, second: u64, limits: Limits) {
        self.each(|slot| {
            if slot.opened.elapsed() >= limits.max_age {
                slot.tell(|inbox| inbox.closed = true);
            } else if slot.phase == second % HEARTBEAT_S {
                slot.tell(|inbox| inbox.beat = true);
            }
        });
    }

    /// Ends every stream, and lets nobody in any more.
    pub fn close(&self) {
        self.0.closing.store(true, Ordering::Relaxed);
        self.each(|slot| slot.tell(|inbox| inbox.closed = true));
    }

    /// The streams that somebody reads here.
    pub fn open_keys(&self) -> Vec<StreamKey> {
        self.0.shards.iter().flat_map(|shard| lock(shard).keys().cloned().collect::<Vec<_>>()).collect()
    }

    /// From now on the other instances are told through `outward`.
    pub(super) fn tell_others(&self, outward: tokio::sync::mpsc::UnboundedSender<StreamKey>) {
        *lock(&self.0.outward) = Some(outward);
    }

    fn each(&self, mut visit: impl FnMut(&Slot)) {
        for shard in &self.0.shards {
            for slot in lock(shard).values().flatten() {
                visit(slot);
            }
        }
    }

    fn shard(&self, key: &StreamKey) -> &Mutex<HashMap<StreamKey, Vec<Arc<Slot>>>> {
        let sum = key.as_str().bytes().fold(0usize, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
        &self.0.shards[sum % SHARDS]
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

/// A thread that panicked while it held the lock left the map as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
