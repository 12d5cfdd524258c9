//! Where a request came from, and how often. `X-Forwarded-For` counts only as far as it was written by
//! proxies that the operator named.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;

use axum::extract::ConnectInfo;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::request::Parts;

/// Longest `X-Forwarded-For` that is looked at: a chain of proxies is short.
const MAX_HOPS: usize = 16;

/// A network in CIDR form, such as `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write an address or a network in CIDR form, such as 10.0.0.0/8")]
pub struct NetworkError;

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().map_err(|_| NetworkError)?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| NetworkError)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        if prefix <= longest { Ok(Self { address, prefix }) } else { Err(NetworkError) }
    }
}

impl Network {
    /// Whether an address is inside.
    pub fn contains(self, other: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, true),
            IpAddr::V6(v6) => (u128::from(v6), false),
        };
        let ((ours, our_kind), (theirs, their_kind)) = (bits(self.address), bits(other.to_canonical()));
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
        our_kind == their_kind && (ours ^ theirs) & mask == 0
    }
}

/// The address of the browser: the peer, or, where the peer is a trusted proxy, the last address in
/// `X-Forwarded-For` that no trusted proxy has. `None` where the server does not tell its peers.
pub(crate) fn of(parts: &Parts, trusted: &[Network]) -> Option<IpAddr> {
    let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    let mut address = peer.ip().to_canonical();
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let forwarded = parts.headers.get_all("x-forwarded-for");
    let hops: Vec<&str> =
        forwarded.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
    for hop in hops.iter().rev().take(MAX_HOPS) {
        if !is_trusted(address) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(before) => address = before.to_canonical(),
            Err(_) => break,
        }
    }
    Some(address)
}

/// So many of something each minute from one address (IPv6: from one /64, which is one customer).
#[derive(Debug)]
pub(crate) struct PerMinute {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
}

/// Addresses remembered before the quiet ones are forgotten.
const MANY_ADDRESSES: usize = 50_000;

impl PerMinute {
    pub(crate) fn new(rate: NonZeroU32) -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_minute(rate)) }
    }

    /// Counts one; otherwise the seconds until the next is allowed.
    pub(crate) fn allow(&self, address: Option<IpAddr>) -> Result<(), u64> {
        let key = match address {
            Some(IpAddr::V6(v6)) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            Some(v4) => v4,
            None => IpAddr::V6(Ipv6Addr::UNSPECIFIED), // unknown peers share one allowance
        };
        if self.limiter.len() > MANY_ADDRESSES {
            self.forget_quiet();
        }
        self.limiter.check_key(&key).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
        })
    }

    pub(crate) fn forget_quiet(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut request = http::Request::builder();
        for value in forwarded {
            request = request.header("x-forwarded-for", *value);
        }
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        parts.extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().expect("an address"), 1)));
        let trusted: Vec<_> = trusted.iter().map(|t| t.parse().expect("a network")).collect();
        of(&parts, &trusted).expect("a peer").to_string()
    }

    #[test]
    fn what_a_stranger_writes_into_the_header_counts_for_nothing() {
        assert_eq!(seen("203.0.113.9", &["10.9.9.9"], &[]), "203.0.113.9");
        assert_eq!(seen("203.0.113.9", &["10.9.9.9"], &["10.0.0.0/8"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7, 203.0.113.9"], &["10.0.0.0/8"]), "203.0.113.9");
        assert_eq!(
            seen("10.0.0.1", &["198.51.100.7", "203.0.113.9, 10.0.0.2"], &["10.0.0.0/8"]),
            "203.0.113.9"
        );
        assert_eq!(seen("10.0.0.1", &["evil, 10.0.0.2"], &["10.0.0.0/8"]), "10.0.0.2");
        assert_eq!(seen("::ffff:10.0.0.1", &["203.0.113.9"], &["10.0.0.1"]), "203.0.113.9");
    }

    #[test]
    fn networks_are_parsed_and_compared_by_prefix() {
        let net: Network = "192.168.0.0/16".parse().expect("a network");
        assert!(
            net.contains("192.168.9.9".parse().expect("ip"))
                && !net.contains("192.169.0.1".parse().expect("ip"))
        );
        let all: Network = "0.0.0.0/0".parse().expect("a network");
        assert!(all.contains("1.2.3.4".parse().expect("ip")) && !all.contains("::1".parse().expect("ip")));
        for bad in ["", "10.0.0.0/33", "::/129", "ten", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_gets_its_allowance_and_then_a_time_to_wait() {
        let limit = PerMinute::new(NonZeroU32::new(60).expect("not zero"));
        let address = |text: &str| Some(text.parse::<IpAddr>().expect("ip"));
        assert!((0..60).all(|_| limit.allow(address("203.0.113.9")).is_ok()));
        assert_eq!(limit.allow(address("203.0.113.9")), Err(1));
        assert!(limit.allow(address("203.0.113.10")).is_ok());
        assert!((0..60).all(|_| limit.allow(address("2001:db8::1")).is_ok()));
        assert!(limit.allow(address("2001:db8::2")).is_err());
    }
}
