//! Bounds per source address, looked at before any signature is checked: DIDs are free to make, so
//! whoever makes a million of them is still one address (threats 23).

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use miid_protocol::ErrorCode;

use super::ApiError;
use crate::config::Bounds;

/// DIDs that are not new, kept in two generations of so many: when one is full the older goes.
const KNOWN_DIDS: usize = 200_000;

/// The limiters of one instance.
pub struct AddressLimits {
    requests: DefaultKeyedRateLimiter<IpAddr>,
    new_dids: DefaultKeyedRateLimiter<IpAddr>,
    wrong_logins: DefaultKeyedRateLimiter<IpAddr>,
    retirements: DefaultKeyedRateLimiter<IpAddr>,
    known: Mutex<[HashSet<u64>; 2]>,
    hasher: RandomState,
}

impl AddressLimits {
    /// From the operator's bounds.
    pub fn new(bounds: &Bounds) -> Self {
        let n = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let requests = n(bounds.requests_per_address);
        Self {
            requests: RateLimiter::keyed(
                Quota::per_second(requests).allow_burst(n(requests.get().saturating_mul(2))),
            ),
            new_dids: RateLimiter::keyed(Quota::per_minute(n(bounds.new_dids_per_address))),
            wrong_logins: RateLimiter::keyed(Quota::per_second(n(bounds.wrong_logins_per_address))),
            retirements: RateLimiter::keyed(Quota::per_minute(n(bounds.retirements_per_address))),
            known: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// One more request of a wallet.
    pub fn request(&self, address: IpAddr) -> Result<(), ApiError> {
        check(&self.requests, address)
    }

    /// A service's login that nothing in memory accepts. Bounded apart from wallets, so that neither shuts
    /// the other out.
    pub fn wrong_login(&self, address: IpAddr) -> Result<(), ApiError> {
        check(&self.wrong_logins, address)
    }

    /// A retirement that would count: it is kept for ever, and a key to retire is free to make.
    pub fn retirement(&self, address: IpAddr) -> Result<(), ApiError> {
        check(&self.retirements, address)
    }

    /// A DID that this instance may not have seen yet; it costs only then.
    pub fn did(&self, address: IpAddr, did: &str) -> Result<(), ApiError> {
        let mark = self.hasher.hash_one(did);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.iter().any(|generation| generation.contains(&mark)) {
            return Ok(());
        }
        drop(known);
        check(&self.new_dids, address)
    }

    /// A DID whose proof held: it is not new any more.
    pub fn proved(&self, did: &str) {
        let mark = self.hasher.hash_one(did);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known[0].len() >= KNOWN_DIDS {
            known.swap(0, 1);
            known[0].clear();
        }
        known[0].insert(mark);
    }

    /// Forgets addresses that have been quiet.
    pub fn tidy(&self) {
        self.requests.retain_recent();
        self.new_dids.retain_recent();
        self.wrong_logins.retain_recent();
        self.retirements.retain_recent();
    }
}

/// What counts as one source: an IPv6 customer has a /64.
pub fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        },
    }
}

fn check(limiter: &DefaultKeyedRateLimiter<IpAddr>, address: IpAddr) -> Result<(), ApiError> {
    limiter.check_key(&address).map_err(|not_until| {
        let wait = not_until.wait_time_from(DefaultClock::default().now());
        ApiError::new(ErrorCode::RateLimited).retry_after_s(i64::try_from(wait.as_secs()).unwrap_or(60) + 1)
    })
}
