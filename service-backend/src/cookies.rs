//! The three cookies of section 6. Over https each has the `__Host-` prefix, which no sibling host can
//! plant (threat 9); on loopback over http there is no such protection, and SECURITY.md says so.

use axum_extra::extract::CookieJar;
use http::{HeaderMap, HeaderValue};
use miid_protocol::secret::{BrowserSession, Kind, KnownBrowser, LoginCookie, Secret};
use miid_protocol::{ChallengeId, Lifetime};

/// Logins that one browser keeps open at once; older cookies are expired, so that the `Cookie` header
/// cannot grow beyond what servers take.
pub(crate) const LOGINS_PER_BROWSER: usize = 6;
/// How long a browser that signed in is known.
pub(crate) const KNOWN_FOR: Lifetime = Lifetime::from_secs(400 * 86_400);

/// How this service names and sets cookies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cookies {
    /// Whether the public URL is https.
    pub(crate) secure: bool,
}

impl Cookies {
    fn name(self, plain: &str) -> String {
        if self.secure { format!("__Host-{plain}") } else { plain.to_owned() }
    }

    /// What a request presents for this login.
    pub(crate) fn login(self, headers: &HeaderMap, id: ChallengeId) -> Option<Secret<LoginCookie>> {
        parsed(headers, &self.name(&format!("login-{id}")))
    }

    /// Every login of this browser, newest first (the ids are in order of time), as many as a browser
    /// may keep.
    pub(crate) fn logins(self, headers: &HeaderMap) -> Vec<(ChallengeId, Secret<LoginCookie>)> {
        let mut ids = self.login_ids(headers);
        ids.truncate(LOGINS_PER_BROWSER);
        ids.into_iter().filter_map(|id| Some((id, self.login(headers, id)?))).collect()
    }

    /// Older logins whose cookies have to go to make room for one more.
    pub(crate) fn surplus_logins(self, headers: &HeaderMap) -> Vec<ChallengeId> {
        let ids = self.login_ids(headers);
        ids.into_iter().skip(LOGINS_PER_BROWSER - 1).take(100).collect()
    }

    fn login_ids(self, headers: &HeaderMap) -> Vec<ChallengeId> {
        let prefix = self.name("login-");
        let jar = CookieJar::from_headers(headers);
        let named = |cookie: &axum_extra::extract::cookie::Cookie<'_>| {
            ChallengeId::parse(cookie.name().strip_prefix(&prefix)?).ok()
        };
        let mut ids: Vec<_> = jar.iter().filter_map(named).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids
    }

    pub(crate) fn sid(self, headers: &HeaderMap) -> Option<Secret<BrowserSession>> {
        parsed(headers, &self.name("sid"))
    }

    pub(crate) fn known(self, headers: &HeaderMap) -> Option<Secret<KnownBrowser>> {
        parsed(headers, &self.name("known"))
    }

    pub(crate) fn set_login(
        self,
        id: ChallengeId,
        secret: &Secret<LoginCookie>,
        max_age: Lifetime,
    ) -> HeaderValue {
        self.set_login_to(id, secret.expose(), max_age.seconds())
    }

    pub(crate) fn clear_login(self, id: ChallengeId) -> HeaderValue {
        self.set_login_to(id, "", 0)
    }

    fn set_login_to(self, id: ChallengeId, value: &str, max_age_s: i64) -> HeaderValue {
        // `__Host-` requires the path `/`.
        let path = if self.secure { "/" } else { "/auth" };
        self.set(
            &format!("login-{id}"),
            value,
            &format!("Path={path}; Max-Age={max_age_s}; HttpOnly; SameSite=Strict"),
        )
    }

    /// Until the session ends: the browser need not know when that is, the store does.
    pub(crate) fn set_sid(self, secret: &Secret<BrowserSession>, max_age: Lifetime) -> HeaderValue {
        let rest = format!("Path=/; Max-Age={}; HttpOnly; SameSite=Lax", max_age.seconds());
        self.set("sid", secret.expose(), &rest)
    }

    pub(crate) fn clear_sid(self) -> HeaderValue {
        self.set("sid", "", "Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
    }

    pub(crate) fn set_known(self, secret: &Secret<KnownBrowser>) -> HeaderValue {
        let rest = format!("Path=/; Max-Age={}; HttpOnly; SameSite=Lax", KNOWN_FOR.seconds());
        self.set("known", secret.expose(), &rest)
    }

    fn set(self, name: &str, value: &str, rest: &str) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{}={value}; {rest}{secure}", self.name(name));
        let Ok(mut value) = HeaderValue::from_str(&text) else {
            unreachable!("names and secrets are visible ASCII")
        };
        value.set_sensitive(true);
        value
    }
}

fn parsed<K: Kind>(headers: &HeaderMap, name: &str) -> Option<Secret<K>> {
    Secret::parse(CookieJar::from_headers(headers).get(name)?.value()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> ChallengeId {
        ChallengeId::parse(&format!("0198e0a0-0000-7000-8000-0000000000{n:02}")).expect("an id")
    }

    fn request(cookies: &[HeaderValue]) -> HeaderMap {
        let pairs: Vec<_> = cookies
            .iter()
            .map(|c| c.to_str().expect("text").split(';').next().expect("a pair").to_owned())
            .collect();
        HeaderMap::from_iter([(http::header::COOKIE, pairs.join("; ").parse().expect("a value"))])
    }

    #[test]
    fn a_browser_keeps_its_newest_logins() {
        let cookies = Cookies { secure: false };
        let secret = |n| Secret::from_bytes([n; 32]);
        let set: Vec<_> =
            (10..20).map(|n| cookies.set_login(id(n), &secret(n), Lifetime::from_secs(60))).collect();
        let headers = request(&set);
        assert_eq!(cookies.logins(&headers).first().map(|(id, _)| *id), Some(id(19)));
        assert_eq!(cookies.logins(&headers).len(), LOGINS_PER_BROWSER);
        assert_eq!(cookies.surplus_logins(&headers), [14, 13, 12, 11, 10].map(id));
        assert_eq!(cookies.login(&headers, id(12)).map(|s| s.hash()), Some(secret(12).hash()));
        assert!(cookies.login(&headers, id(21)).is_none());
    }

    #[test]
    fn over_https_every_cookie_is_bound_to_this_host() {
        let cookies = Cookies { secure: true };
        for value in [
            cookies.set_sid(&Secret::from_bytes([1; 32]), Lifetime::from_secs(1)),
            cookies.set_known(&Secret::from_bytes([1; 32])),
            cookies.set_login(id(10), &Secret::from_bytes([1; 32]), Lifetime::from_secs(1)),
        ] {
            let text = value.to_str().expect("text");
            assert!(
                text.starts_with("__Host-") && text.contains("Path=/;") && text.ends_with("; Secure"),
                "{text}"
            );
            assert!(text.contains("HttpOnly"));
        }
        let plain = Cookies { secure: false };
        let planted = request(&[plain.set_sid(&Secret::from_bytes([1; 32]), Lifetime::from_secs(1))]);
        assert!(cookies.sid(&planted).is_none());
    }
}
