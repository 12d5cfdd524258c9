//! Who may make a browser act here: only our own pages (section 6, threat 32).

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use miid_protocol::Issuer;
use miid_protocol::problem::ErrorCode;

use crate::refusal::Refusal;

/// Checks `Host` on every request, and where one can change something also `Origin`, or, where a
/// browser sent none, `Sec-Fetch-Site`.
pub(crate) fn check(parts: &Parts, public_url: &Issuer) -> Result<(), Refusal> {
    let refused = || Refusal::new(ErrorCode::CrossSiteRequest);
    if !is_our_host(parts, public_url) {
        return Err(refused().detail("The request names another host than this service's public URL."));
    }
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let same_origin = match only(&parts.headers, &ORIGIN) {
        Only::One(origin) => origin == public_url.as_str(),
        Only::None => only(&parts.headers, &SEC_FETCH_SITE) == Only::One("same-origin"),
        Only::Many => false,
    };
    if same_origin {
        Ok(())
    } else {
        Err(refused()
            .detail("Only this service's own pages may do this (Origin, or Sec-Fetch-Site: same-origin)."))
    }
}

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Compared with the configured URL, so a host name that an attacker rebinds to our address is refused.
pub(crate) fn is_our_host(parts: &Parts, public_url: &Issuer) -> bool {
    let is_ours = |host: &str| {
        let explicit_default = if public_url.is_https() { ":443" } else { ":80" };
        host.eq_ignore_ascii_case(public_url.authority())
            || host
                .strip_suffix(explicit_default)
                .is_some_and(|host| host.eq_ignore_ascii_case(public_url.authority()))
    };
    let in_uri = parts.uri.authority().is_none_or(|authority| is_ours(authority.as_str()));
    let in_header = match only(&parts.headers, &HOST) {
        Only::One(host) => is_ours(host),
        Only::None => parts.uri.authority().is_some(),
        Only::Many => false,
    };
    in_uri && in_header
}

#[derive(PartialEq)]
enum Only<'a> {
    None,
    One(&'a str),
    Many,
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Only<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Only::None,
        (Some(value), None) => value.to_str().map_or(Only::Many, Only::One),
        (Some(_), Some(_)) => Only::Many,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(method: Method, headers: &[(&str, &str)]) -> bool {
        let mut request = http::Request::builder().method(method).uri("/auth/start");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        check(&parts, &Issuer::parse("https://shop.example").expect("an origin")).is_ok()
    }

    #[test]
    fn only_our_own_pages_may_change_something() {
        let host = ("host", "shop.example");
        let ours = ("origin", "https://shop.example");
        assert!(allowed(Method::POST, &[host, ours]));
        assert!(allowed(Method::POST, &[("host", "SHOP.example:443"), ours]));
        assert!(allowed(Method::POST, &[host, ("sec-fetch-site", "same-origin")]));
        for refused in [
            vec![host],
            vec![host, ("origin", "null")],
            vec![host, ("origin", "https://shop.example.evil.example")],
            vec![host, ("origin", "http://shop.example")],
            vec![host, ("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
            vec![host, ours, ours],
            vec![host, ("sec-fetch-site", "same-site")],
            vec![host, ("sec-fetch-site", "none")],
            vec![("host", "evil.example"), ours],
            vec![("host", "shop.example:8443"), ours],
            vec![host, ("host", "evil.example"), ours],
            vec![ours],
        ] {
            assert!(!allowed(Method::POST, &refused), "{refused:?}");
            assert!(!allowed(Method::DELETE, &refused), "{refused:?}");
        }
    }

    #[test]
    fn reading_needs_the_right_host_only() {
        assert!(allowed(Method::GET, &[("host", "shop.example")]));
        assert!(allowed(Method::GET, &[("host", "shop.example"), ("origin", "https://evil.example")]));
        assert!(!allowed(Method::GET, &[("host", "evil.example")]));
    }
}
