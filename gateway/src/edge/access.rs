//! Who calls: an access token that was found good, and what routes ask of it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use miid_protocol::service::RevokeReason;
use miid_protocol::{ClientId, Lifetime, SessionId, Timestamp};
use serde::Serialize;

use super::cache::TokenHash;
use super::refusal::{BadToken, Refusal};
use super::route::{Kind, Route, StoreAway};
use super::{Edge, headers};
use crate::http::Control;
use crate::keys::{AccessClaims, KeyRing, TokenFault};
use crate::leases::{CloseReason, Lease, Signed};

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
    scopes: Vec<String>,
    /// As headers say them.
    pub(crate) shown: Shown,
    /// What the upstream of a route was shown last, and until when that is fresh.
    last: Mutex<Option<(Arc<str>, HeaderValue, Timestamp)>>,
}

/// What upstreams are told in the clear.
pub(crate) struct Shown {
    pub(crate) subject: HeaderValue,
    pub(crate) session: HeaderValue,
    pub(crate) client: HeaderValue,
    pub(crate) scope: HeaderValue,
}

/// Says to an upstream, and to no other, who calls.
#[derive(Serialize)]
struct IdentityClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    sid: SessionId,
    client_id: &'a str,
    scope: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
}

impl Access {
    fn new(
        claims: &AccessClaims,
        kid: &str,
        lease: Arc<Lease>,
        cached_until: Timestamp,
    ) -> Result<Self, BadToken> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| BadToken::Malformed);
        let expires_at = Timestamp::from_millis(claims.exp.saturating_mul(1000));
        let stepped_up = claims.acr.as_deref() == Some(STEP_UP);
        Ok(Self {
            shown: Shown {
                subject: value(&claims.sub)?,
                session: value(&lease.session.to_string())?,
                client: value(lease.client_id.as_str())?,
                scope: value(&claims.scope)?,
            },
            kid: kid.into(),
            expires_at,
            cached_until: cached_until.min(expires_at),
            stepped_up_at: stepped_up
                .then(|| Timestamp::from_millis(claims.auth_time.unwrap_or(claims.iat).saturating_mul(1000))),
            scopes: claims.scope.split_ascii_whitespace().map(str::to_owned).collect(),
            lease,
            last: Mutex::default(),
        })
    }

    /// The person, at the service.
    pub(crate) fn subject(&self) -> &Arc<str> {
        &self.lease.sub
    }

    /// Whether it still counts.
    fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        let bad = |why| Err(Refusal::Token(why));
        if now >= self.expires_at {
            return bad(BadToken::Expired);
        }
        match self.lease.check() {
            Ok(()) => Ok(()),
            Err(CloseReason::Ended(RevokeReason::Expired) | CloseReason::Expired) => bad(BadToken::Expired),
            Err(CloseReason::Ended(_)) => bad(BadToken::Revoked),
            Err(CloseReason::Unknown) => Err(Refusal::StoreAway),
        }
    }

    /// What a route asks of a token that counts.
    fn satisfies(&self, route: &Route, now: Timestamp) -> Result<(), Refusal> {
        if route.audience.as_ref() != Some(&self.lease.client_id) {
            return Err(Refusal::Token(BadToken::Audience));
        }
        let missing: Vec<String> =
            route.scopes.iter().filter(|scope| !self.scopes.contains(scope)).cloned().collect();
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
        control: impl FnOnce() -> Arc<Control>,
        issuer: &str,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, value, fresh_until)) = &*last
            && Arc::ptr_eq(name, &route.name)
            && now < *fresh_until
        {
            return Some(value.clone());
        }
        let (value, fresh_until) = self.sign(route, &control().ring, issuer, now)?;
        *last = Some((route.name.clone(), value.clone(), fresh_until));
        Some(value)
    }

    /// The same where another token of the session may have had it signed already.
    fn sign(
        &self,
        route: &Route,
        ring: &KeyRing,
        issuer: &str,
        now: Timestamp,
    ) -> Option<(HeaderValue, Timestamp)> {
        let about = self.about_for(route);
        self.lease.signed(&about, now, self.expires_at, || {
            let expires_at = now.plus(IDENTITY_TTL).min(self.expires_at);
            let claims = IdentityClaims {
                iss: issuer,
                aud: &route.name,
                sub: &self.lease.sub,
                sid: self.lease.session,
                client_id: self.lease.client_id.as_str(),
                scope: self.scopes.join(" "),
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

    /// What of this token an identity for a route says: tokens of a session that say the same share it.
    fn about_for(&self, route: &Route) -> String {
        let mut about = String::with_capacity(64);
        about.push_str(&route.name);
        if let Some(at) = self.stepped_up_at {
            let _ = write!(about, " @{}", at.seconds());
        }
        for scope in &self.scopes {
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
        if route.store_away == StoreAway::Refuse && !self.leases.is_current() {
            return Err(Refusal::StoreAway);
        }
        let hash = TokenHash::of(token);
        let access = match self.cache.get(&hash) {
            Some(access) if now < access.cached_until => {
                self.metrics.hits.increment(1);
                access
            }
            _ => {
                self.metrics.misses.increment(1);
                let access = self.examine(token, now).await?;
                self.cache.insert(hash, access.clone());
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
        if matches!(examined, Err(TokenFault::UnknownKey)) && self.look_for_keys().await {
            control = self.app.control();
            examined = control.ring.examine(token, now).map(|(claims, kid)| (claims, kid.to_owned()));
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
        Access::new(&claims, &kid, lease, cached_until).map(Arc::new).map_err(Refusal::Token)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::leases;

    /// A token that is over at `until`.
    pub(crate) fn access(until: i64) -> Arc<Access> {
        let text = HeaderValue::from_static("x");
        Arc::new(Access {
            lease: leases::tests::lease(),
            kid: "k".into(),
            expires_at: Timestamp::from_millis(until),
            cached_until: Timestamp::from_millis(until),
            stepped_up_at: None,
            scopes: vec!["orders:read".into()],
            last: Mutex::default(),
            shown: Shown { subject: text.clone(), session: text.clone(), client: text.clone(), scope: text },
        })
    }

    fn route(more: &str) -> Arc<Route> {
        let text = format!(
            "[[edge.route]]\nname=\"r\"\nprefix=\"/\"\nupstreams=[\"http://a:1\"]\nkind=\"general\"\naudience=\"demo-shop\"\n{more}"
        );
        let table = super::super::config::parse(&text, std::path::Path::new("x")).expect("a route");
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
