//! Who calls: an access token that was found good, and what routes ask of it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use miid_protocol::service::RevokeReason;
use miid_protocol::{ClientId, Lifetime, SessionId, Timestamp};
use serde::Serialize;

use super::cache::TokenHash;
use crate::edge::Edge;
use crate::edge::refusal::{BadToken, Refusal};
use crate::edge::routes::route::{Kind, Route, StoreAway};
use crate::edge::upstreams::headers;
use crate::http::Control;
use crate::keys::{AccessClaims, KeyRing, TokenFault};
use crate::leases::{CloseReason, Lease, Shown, Signed};

/// Longer than any token of ours.
const MAX_TOKEN: usize = 8 * 1024;
/// What stands before it.
const BEARER: &[u8] = b"bearer ";
/// `acr` of a fresh approval.
const STEP_UP: &str = "step_up";
/// What the upstream is shown lives so long …
const IDENTITY_TTL: Lifetime = Lifetime::from_secs(60);
/// … and is made anew when it has no more than this left.
const IDENTITY_LEFT: Lifetime = Lifetime::from_secs(20);

/// A token that was found good.
pub(crate) struct Access {
    /// The hold on its session.
    pub(crate) lease: Arc<Lease>,
    pub(crate) kid: Box<str>,
    pub(crate) expires_at: Timestamp,
    /// Until then a hit needs no new look.
    pub(crate) cached_until: Timestamp,
    /// When a step-up approved it.
    stepped_up_at: Option<Timestamp>,
    /// Whose it is, as headers say it.
    pub(crate) shown: Arc<Shown>,
    /// Its scopes, the same.
    pub(crate) scope: HeaderValue,
    /// What an upstream was shown last.
    last: Mutex<Option<Last>>,
}

/// What the upstream of a route was shown, by which key, and until when that is fresh.
struct Last {
    route: Arc<str>,
    kid: Box<str>,
    value: HeaderValue,
    fresh_until: Timestamp,
}

/// Says to an upstream, and to no other, who calls.
#[derive(Serialize)]
struct IdentityClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    sid: SessionId,
    client_id: &'a str,
    scope: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
}

impl Access {
    fn new(
        claims: AccessClaims,
        kid: &str,
        lease: Arc<Lease>,
        cached_until: Timestamp,
    ) -> Result<Self, BadToken> {
        let expires_at = Timestamp::from_millis(claims.exp.saturating_mul(1000));
        // An approval of this session, and before the token: what says otherwise was signed by nobody of ours.
        let approved = |at: &i64| (lease.since.seconds()..=claims.iat).contains(at);
        let stepped_up_at = match claims.acr.as_deref() {
            Some(STEP_UP) => Some(claims.auth_time.filter(approved).ok_or(BadToken::Malformed)?),
            _ => None,
        };
        Ok(Self {
            shown: lease.shown.clone().ok_or(BadToken::Malformed)?,
            scope: claims.scope.try_into().map_err(|_| BadToken::Malformed)?,
            kid: kid.into(),
            expires_at,
            cached_until: cached_until.min(expires_at),
            stepped_up_at: stepped_up_at.map(|at| Timestamp::from_millis(at.saturating_mul(1000))),
            lease,
            last: Mutex::default(),
        })
    }

    /// The person, at the service.
    pub(crate) fn subject(&self) -> &Arc<str> {
        &self.lease.sub
    }

    fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.to_str().unwrap_or_default().split_ascii_whitespace()
    }

    /// Whether it still counts.
    fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        if now >= self.expires_at {
            return Err(Refusal::Token(BadToken::Expired));
        }
        self.lease.check().map_err(Self::because)
    }

    /// What is said once the session behind it is over.
    pub(crate) fn ended(&self) -> Refusal {
        Self::because(self.lease.check().err().unwrap_or(CloseReason::Unknown))
    }

    fn because(reason: CloseReason) -> Refusal {
        match reason {
            CloseReason::Ended(RevokeReason::Expired) | CloseReason::Expired => {
                Refusal::Token(BadToken::Expired)
            }
            CloseReason::Ended(_) => Refusal::Token(BadToken::Revoked),
            CloseReason::Unknown => Refusal::StoreAway,
        }
    }

    /// What a route asks of a token that counts.
    fn satisfies(&self, route: &Route, now: Timestamp) -> Result<(), Refusal> {
        if route.audience.as_ref() != Some(&self.lease.client_id) {
            return Err(Refusal::Token(BadToken::Audience));
        }
        let missing: Vec<String> =
            route.scopes.iter().filter(|scope| !self.scopes().any(|s| s == **scope)).cloned().collect();
        if !missing.is_empty() {
            return Err(Refusal::Scope(missing));
        }
        if let Some(age) = route.step_up {
            let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            let young = self.stepped_up_at.is_some_and(|at| now.millis() - at.millis() <= age_ms);
            if !young {
                return Err(Refusal::StepUp(age.as_secs()));
            }
        }
        Ok(())
    }

    /// What the upstream of a route is shown.
    pub(crate) fn identity(
        &self,
        route: &Route,
        control: &Control,
        issuer: &str,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let ring = &control.ring;
        let kid = &ring.current(now)?.kid;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && Arc::ptr_eq(&last.route, &route.name)
            && *last.kid == **kid
            && now < last.fresh_until
        {
            return Some(last.value.clone());
        }
        let about = self.about_for(route, kid);
        let (value, fresh_until) = self.sign(about, route, ring, issuer, now)?;
        let (route, kid) = (route.name.clone(), kid.as_str().into());
        *last = Some(Last { route, kid, value: value.clone(), fresh_until });
        Some(value)
    }

    /// The same where another token of the session may have had it signed already.
    fn sign(
        &self,
        about: String,
        route: &Route,
        ring: &KeyRing,
        issuer: &str,
        now: Timestamp,
    ) -> Option<(HeaderValue, Timestamp)> {
        self.lease.signed(&about, now, self.expires_at, || {
            let expires_at = now.plus(IDENTITY_TTL).min(self.expires_at);
            let claims = IdentityClaims {
                iss: issuer,
                aud: &route.name,
                sub: &self.lease.sub,
                sid: self.lease.session,
                client_id: self.lease.client_id.as_str(),
                scope: self.scope.to_str().ok()?,
                iat: now.seconds(),
                exp: expires_at.seconds().max(now.seconds() + 1),
                acr: self.stepped_up_at.map(|_| STEP_UP),
                auth_time: self.stepped_up_at.map(Timestamp::seconds),
            };
            let signed = ring.sign_as(headers::IDENTITY_TYP, &claims, now)?;
            Some(Signed {
                about: about.as_str().into(),
                value: HeaderValue::from_str(&signed).ok()?,
                fresh_until: Timestamp::from_millis(expires_at.millis() - IDENTITY_LEFT.millis()),
                expires_at,
            })
        })
    }

    /// What of this token an identity for a route says, and by which key: tokens of a session that say the same
    /// share it, and none outlives the key.
    fn about_for(&self, route: &Route, kid: &str) -> String {
        let mut about = String::with_capacity(128);
        about.push_str(&route.name);
        about.push(' ');
        about.push_str(kid);
        if let Some(at) = self.stepped_up_at {
            let _ = write!(about, " @{}", at.seconds());
        }
        for scope in self.scopes() {
            about.push(' ');
            about.push_str(scope);
        }
        about
    }
}

/// The one bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, BadToken> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(BadToken::Missing)?;
    if values.next().is_some() {
        return Err(BadToken::Malformed);
    }
    let (scheme, token) = value.as_bytes().split_at_checked(BEARER.len()).unwrap_or((value.as_bytes(), &[]));
    if !scheme.eq_ignore_ascii_case(BEARER) {
        let other = value.to_str().is_ok_and(|text| {
            text.split_once(' ').is_some_and(|(scheme, _)| !scheme.eq_ignore_ascii_case("bearer"))
        });
        return Err(if other { BadToken::Missing } else { BadToken::Malformed });
    }
    // All of it at once: nearly all tokens are plain.
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if token.is_empty() || token.len() > MAX_TOKEN || !token.iter().fold(true, |all, b| all & plain(*b)) {
        return Err(BadToken::Malformed);
    }
    std::str::from_utf8(token).map_err(|_| BadToken::Malformed)
}

impl Edge {
    /// Who calls, where the route lets them.
    pub(crate) async fn authorize(
        &self,
        route: &Route,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Arc<Access>, Refusal> {
        let token = bearer(headers).map_err(Refusal::Token)?;
        let is_current = || route.audience.as_ref().is_some_and(|service| self.leases.is_current(service));
        if route.store_away == StoreAway::Refuse && !is_current() {
            return Err(Refusal::StoreAway);
        }
        let hash = TokenHash::of(token);
        let access = match self.cache.get(&hash) {
            Some(access) if now < access.cached_until && access.lease.is_settled() => {
                self.metrics.hits.increment(1);
                access
            }
            _ => {
                self.metrics.misses.increment(1);
                let access = self.examine(token, now).await?;
                self.cache.insert(hash, access.clone());
                // Its key may have been retired meanwhile, and the cache been gone through before it was in there.
                if !self.app.control().ring.honours(&access.kid, now) {
                    self.cache.remove(&hash);
                    return Err(Refusal::Token(BadToken::UnknownKey));
                }
                access
            }
        };
        if let Err(refusal) = access.check(now) {
            // An end stays known, since it will be asked for again; what nobody tells of any more is looked up.
            if !matches!(refusal, Refusal::Token(BadToken::Revoked)) {
                self.cache.remove(&hash);
            }
            return Err(refusal);
        }
        access.satisfies(route, now)?;
        if route.kind == Kind::Critical && route.ask_active && !self.is_active(&access).await? {
            return Err(Refusal::NotActive);
        }
        Ok(access)
    }

    /// Looks at a token as if for the first time: what it says, and its session.
    async fn examine(&self, token: &str, now: Timestamp) -> Result<Arc<Access>, Refusal> {
        let mut control = self.app.control();
        let mut examined = control.ring.examine(token, now).map(|(claims, kid)| (claims, kid.to_owned()));
        if matches!(examined, Err(TokenFault::UnknownKey)) {
            self.look_for_keys().await;
            // Also where it was somebody else who had them looked for.
            let known = std::mem::replace(&mut control, self.app.control());
            if !Arc::ptr_eq(&known.ring, &control.ring) {
                examined = control.ring.examine(token, now).map(|(claims, kid)| (claims, kid.to_owned()));
            }
        }
        let (claims, kid) = examined.map_err(|fault| {
            Refusal::Token(match fault {
                TokenFault::Malformed => BadToken::Malformed,
                TokenFault::UnknownKey => BadToken::UnknownKey,
                TokenFault::Signature => BadToken::Signature,
                TokenFault::Issuer => BadToken::Issuer,
                TokenFault::Expired => BadToken::Expired,
            })
        })?;
        let client_id = ClientId::parse(&claims.aud).map_err(|_| Refusal::Token(BadToken::Malformed))?;
        if !control.services.contains_key(&client_id) || claims.client_id != claims.aud {
            return Err(Refusal::Token(BadToken::Audience));
        }
        let lease = match self.leases.find(claims.sid) {
            Some(lease) => lease,
            None => self.open_lease(claims.sid, client_id.clone()).await?,
        };
        // Who has the signing key has no session yet: what the token says must be what the row says.
        let theirs = lease.client_id == client_id
            && *lease.sub == *claims.sub
            && claims.scope.split_ascii_whitespace().all(|scope| lease.scopes.iter().any(|s| s == scope))
            && claims.iat >= lease.since.seconds();
        if !theirs {
            return Err(Refusal::Token(BadToken::Malformed));
        }
        let cached_until = Timestamp::from_millis(now.millis() + self.cache_ms());
        Access::new(claims, &kid, lease, cached_until).map(Arc::new).map_err(Refusal::Token)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use miid_protocol::Lifetime;

    use super::*;
    use crate::keys::{KeyRow, ServerKeys};
    use crate::leases;

    /// A token that is over at `until`.
    pub(crate) fn access(until: i64) -> Arc<Access> {
        let lease = leases::tests::lease();
        Arc::new(Access {
            shown: lease.shown.clone().expect("plain text"),
            lease,
            kid: "k".into(),
            expires_at: Timestamp::from_millis(until),
            cached_until: Timestamp::from_millis(until),
            stepped_up_at: None,
            scope: HeaderValue::from_static("orders:read"),
            last: Mutex::default(),
        })
    }

    fn route(more: &str) -> Arc<Route> {
        let text = format!(
            "[[edge.route]]\nname=\"r\"\nprefix=\"/\"\nupstreams=[\"http://a:1\"]\nkind=\"general\"\naudience=\"demo-shop\"\n{more}"
        );
        let table = crate::edge::routes::config::parse(&text, std::path::Path::new("x")).expect("a route");
        table.routes[0].clone()
    }

    #[test]
    fn a_route_asks_for_its_audience_scopes_and_step_up() {
        let now = Timestamp::from_millis(500_000);
        let token = access(1_000_000);
        assert!(token.satisfies(&route("scopes=[\"orders:read\"]"), now).is_ok());
        let missing = token.satisfies(&route("scopes=[\"orders:read\",\"orders:write\"]"), now);
        assert!(matches!(missing, Err(Refusal::Scope(scopes)) if scopes == ["orders:write"]));
        let mut other = Arc::try_unwrap(route("")).expect("alone");
        other.audience = Some(ClientId::parse("other").expect("id"));
        assert!(matches!(token.satisfies(&other, now), Err(Refusal::Token(BadToken::Audience))));

        let route = route("step_up=\"5m\"");
        assert!(matches!(token.satisfies(&route, now), Err(Refusal::StepUp(300))));
        let mut stepped = Arc::try_unwrap(access(1_000_000)).ok().expect("alone");
        stepped.stepped_up_at = Some(Timestamp::from_millis(200_000));
        assert!(stepped.satisfies(&route, now).is_ok());
        assert!(stepped.satisfies(&route, Timestamp::from_millis(500_001)).is_err(), "too old by now");
    }

    #[test]
    fn a_step_up_is_within_its_session_and_before_its_token() {
        let lease = leases::tests::lease();
        let since = lease.since.seconds();
        let claims = |acr: Option<&str>, auth_time: Option<i64>| AccessClaims {
            iss: "i".into(),
            aud: lease.client_id.as_str().into(),
            client_id: lease.client_id.as_str().into(),
            sub: "s".into(),
            sid: lease.session,
            scope: String::new(),
            iat: since + 100,
            exp: since + 700,
            jti: "j".into(),
            acr: acr.map(str::to_owned),
            auth_time,
        };
        let at = |acr, auth_time| {
            let access = Access::new(claims(acr, auth_time), "k", lease.clone(), Timestamp::from_millis(0));
            access.map(|access| access.stepped_up_at.map(Timestamp::seconds))
        };
        for inside in [since, since + 1, since + 100] {
            assert_eq!(at(Some(STEP_UP), Some(inside)), Ok(Some(inside)));
        }
        for outside in [None, Some(since - 1), Some(since + 101), Some(i64::MAX), Some(i64::MIN)] {
            assert_eq!(at(Some(STEP_UP), outside), Err(BadToken::Malformed), "{outside:?}");
        }
        assert_eq!(at(None, Some(since)), Ok(None), "a time alone says nothing");
        assert_eq!(at(Some("other"), Some(since)), Ok(None));
    }

    #[test]
    fn what_was_shown_last_is_not_shown_again_once_its_key_is_relieved_or_gone() {
        let at = |s: i64| Timestamp::from_millis(s * 1000);
        let issuer = miid_protocol::Issuer::parse("http://127.0.0.1:1").expect("issuer");
        let control = |kids: &[(&str, i64)]| {
            let row = |(kid, active): &(&str, i64)| KeyRow {
                kid: (*kid).to_owned(),
                created_at: at(0),
                active_from: at(*active),
                retired_at: None,
            };
            let keys = ServerKeys::new(zeroize::Zeroizing::new([1; 32]));
            let ring = KeyRing::new(&keys, kids.iter().map(row).collect(), &issuer, Lifetime::from_secs(600));
            Control { services: Default::default(), ring: Arc::new(ring) }
        };
        let (access, route) = (access(10_000_000), route(""));
        let shown = |control: &Control, now| {
            let value = access.identity(&route, control, issuer.as_str(), at(now)).expect("a key signs");
            let head = value.to_str().expect("text").split('.').next().expect("a head").to_owned();
            let head = miid_protocol::jws::decode(&head).expect("base64");
            (String::from_utf8(head).expect("text"), value)
        };
        let (both, later) = (control(&[("a", 0), ("b", 102)]), control(&[("b", 102)]));
        let (first, again) = (shown(&both, 100), shown(&both, 101));
        assert!(first.0.contains("\"a\""), "{}", first.0);
        assert_eq!(first, again, "it is signed once");
        assert!(shown(&both, 102).0.contains("\"b\""), "the next key took over");
        assert!(shown(&both, 101).0.contains("\"a\""), "only a clock that is set back makes it so");
        assert!(shown(&later, 102).0.contains("\"b\""), "its key is gone");
    }

    #[test]
    fn exactly_one_bearer_token_is_taken() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).expect("a value"));
            }
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with(&["Bearer a.b.c"]).as_deref(), Ok("a.b.c"));
        assert_eq!(with(&["bEARER a.b.c"]).as_deref(), Ok("a.b.c"));
        assert_eq!(with(&[]), Err(BadToken::Missing));
        assert_eq!(with(&["Basic YTpi"]), Err(BadToken::Missing));
        for values in
            [&["Bearer a", "Bearer b"][..], &["Bearer"], &["Bearer a b"], &["Bearer a,b"], &["Bearer  a"]]
        {
            assert_eq!(with(values), Err(BadToken::Malformed), "{values:?}");
        }
    }
}
