//! Header fields that end here, and those that begin here. What says who calls or where from is the edge's to
//! say: whatever looks like it and comes from outside is dropped first, in every spelling that a server behind
//! might read alike.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, TE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use crate::edge::ids::{RequestId, Trace};
use crate::edge::routes::route::{Protocol, Route};
use crate::edge::tokens::access::Access;
use crate::edge::wire::head::{self, Wrong};

/// `typ` of what upstreams are shown: nobody takes it for an access token.
pub(crate) const IDENTITY_TYP: &str = "miid-identity+jwt";

static IDENTITY: HeaderName = HeaderName::from_static("x-miid-identity");
static SUBJECT: HeaderName = HeaderName::from_static("x-miid-subject");
static SESSION: HeaderName = HeaderName::from_static("x-miid-session");
static SCOPE: HeaderName = HeaderName::from_static("x-miid-scope");
static CLIENT: HeaderName = HeaderName::from_static("x-miid-client");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where the requests of a connection come from, as far as anybody is believed.
#[derive(Clone)]
pub(crate) struct Origin {
    /// The connection's other end, as a header says it.
    peer: HeaderValue,
    /// Whether that is one of our own proxies.
    trusted: bool,
}

impl Origin {
    pub(crate) fn new(peer: IpAddr, trusted: bool) -> Self {
        let text = HeaderValue::from_str(&peer.to_string());
        Self { peer: text.unwrap_or_else(|_| HeaderValue::from_static("unknown")), trusted }
    }
}

/// Whether a name is ours to write, or a proxy's, however it is spelt: servers turn other characters into
/// hyphens or underscores, and capitals into small letters. No name with an underscore is let through: behind a
/// gateway interface (CGI and what came after it) it is another name with a hyphen.
fn is_ours(name: &str) -> bool {
    let name = name.as_bytes();
    if name.contains(&b'_') {
        return true;
    }
    // Nearly all names end here.
    if !matches!(name.first(), Some(b'x' | b'f' | b't' | b'c' | b'p')) {
        return false;
    }
    let alike =
        |(byte, wanted): (&u8, &u8)| byte == wanted || (*wanted == b'-' && !byte.is_ascii_alphanumeric());
    let starts = |start: &&str| name.len() >= start.len() && name.iter().zip(start.as_bytes()).all(alike);
    let is = |whole: &&str| name.len() == whole.len() && name.iter().zip(whole.as_bytes()).all(alike);
    // The method was looked at already: nobody turns it into another one behind.
    ["x-miid-", "x-forwarded-", "x-original-", "x-rewrite-", "x-http-method", "x-method-override"]
        .iter()
        .any(starts)
        || [
            "forwarded",
            // `HTTP_PROXY` to a program behind a gateway interface, which then speaks to whom the caller wants.
            "proxy",
            "x-real-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "true-client-ip",
            "cf-connecting-ip",
        ]
        .iter()
        .any(is)
}

/// Whether a field is for one connection only.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
            | "proxy-authorization"
    )
}

/// Drops fields that are for one connection only (RFC 9110, section 7.6.1), and what `Connection` names.
pub(crate) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    drop_fields(headers, is_hop_by_hop);
}

/// Drops fields by their names, and what `Connection` names where that is one of them.
fn drop_fields(headers: &mut HeaderMap, ends: impl Fn(&str) -> bool) {
    let mut gone: Vec<HeaderName> = headers.keys().filter(|name| ends(name.as_str())).cloned().collect();
    if gone.contains(&CONNECTION) {
        let named = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            // Nobody takes these away by calling them names.
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH);
        gone.extend(named);
    }
    for name in gone {
        headers.remove(name);
    }
}

/// What is sent on of a request's head: what the caller said, without what is not theirs to say, and with what
/// the edge knows. `host` is what the request is for.
#[allow(clippy::too_many_arguments, reason = "everything that an upstream is told, in one place")]
pub(crate) fn to_upstream(
    headers: &mut HeaderMap,
    (method, version): (&Method, Version),
    route: &Route,
    origin: &Origin,
    host: &HeaderValue,
    access: Option<(&Access, HeaderValue)>,
    request_id: &RequestId,
    trace: Trace,
) {
    let believed = origin.trusted.then(|| Believed::of(headers));
    let takes_trailers = headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    drop_fields(headers, |name| {
        is_hop_by_hop(name)
            || is_ours(name)
            // We say `100 Continue` ourselves, as soon as the body is wanted.
            || name == "expect"
            // The body's trailers are left out.
            || name == "trailer"
            // It would be about another trace.
            || (trace.begins() && name == "tracestate")
            || (name == "authorization" && !route.pass_authorization)
    });
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if route.protocol == Protocol::Http1 {
            // It is for one connection only, and so must be named (RFC 9110, section 10.1.4).
            headers.insert(CONNECTION, HeaderValue::from_static("TE"));
        }
    }
    // Behind those that it came by before (RFC 9110, section 7.6.3).
    headers.append(VIA, via(version));
    join_cookies(headers);
    // A body without a length of its own is sent in chunks; a GET with neither has none.
    if matches!(*method, Method::GET | Method::HEAD)
        && headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0")
    {
        headers.remove(CONTENT_LENGTH);
    }
    headers.insert(HOST, host.clone());
    forwarded(headers, origin, believed, host);
    if route.forwarded {
        forwarded_by_standard(headers);
    }
    headers.insert(REQUEST_ID.clone(), request_id.value());
    headers.insert(TRACEPARENT.clone(), trace.into_value());
    if let Some((access, identity)) = access {
        let shown = &access.shown;
        headers.insert(IDENTITY.clone(), identity);
        headers.insert(SUBJECT.clone(), shown.subject.clone());
        headers.insert(SESSION.clone(), shown.session.clone());
        headers.insert(SCOPE.clone(), access.scope.clone());
        headers.insert(CLIENT.clone(), shown.client.clone());
    }
}

/// How a request came to us, who go by a name of our own: what we are called inside is nobody's business.
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_2 => "2.0 miid-edge",
        Version::HTTP_10 => "1.0 miid-edge",
        _ => "1.1 miid-edge",
    })
}

/// What one of our own proxies said.
struct Believed {
    path: String,
    proto: Option<HeaderValue>,
    host: Option<HeaderValue>,
}

impl Believed {
    fn of(headers: &HeaderMap) -> Self {
        let path: Vec<&str> =
            headers.get_all(&FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        let proto = headers.get(&FORWARDED_PROTO).filter(|proto| *proto == "https" || *proto == "http");
        Self { path: path.join(", "), proto: proto.cloned(), host: headers.get(&FORWARDED_HOST).cloned() }
    }
}

/// `X-Forwarded-*` as our proxies and we know it. `Forwarded` from outside says nothing that those do not, and is
/// dropped, also where one of our proxies sends it: they are believed in one language.
fn forwarded(headers: &mut HeaderMap, origin: &Origin, believed: Option<Believed>, host: &HeaderValue) {
    let (path, proto, outer) =
        believed.map_or_else(Default::default, |believed| (believed.path, believed.proto, believed.host));
    let peer = origin.peer.clone();
    let path = match path.is_empty() {
        true => Ok(peer),
        false => HeaderValue::from_str(&format!("{path}, {}", peer.to_str().unwrap_or_default())),
    };
    if let Ok(path) = path {
        headers.insert(FORWARDED_FOR.clone(), path);
    }
    headers.insert(FORWARDED_PROTO.clone(), proto.unwrap_or(HeaderValue::from_static("http")));
    headers.insert(FORWARDED_HOST.clone(), outer.unwrap_or_else(|| host.clone()));
}

/// The same in the standard's words (RFC 7239), for upstreams that read those: a node for each that
/// `X-Forwarded-For` names, the outermost with what it asked for and how.
fn forwarded_by_standard(headers: &mut HeaderMap) {
    let text =
        |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut said = String::with_capacity(96);
    for (i, node) in text(&FORWARDED_FOR).split(',').map(str::trim).enumerate() {
        let _ = match node.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => write!(said, "{}for={address}", if i > 0 { ", " } else { "" }),
            Ok(IpAddr::V6(address)) => write!(said, "{}for=\"[{address}]\"", if i > 0 { ", " } else { "" }),
            Err(_) => write!(said, "{}for=unknown", if i > 0 { ", " } else { "" }),
        };
        if i == 0 {
            let _ = write!(said, ";proto={}", text(&FORWARDED_PROTO));
            // A host has no quotes in it: other characters need none (section 4).
            let host = text(&FORWARDED_HOST);
            if !host.is_empty() && !host.contains(['"', '\\']) {
                let _ = write!(said, ";host=\"{host}\"");
            }
        }
    }
    if let Ok(said) = HeaderValue::from_str(&said) {
        headers.insert(FORWARDED, said);
    }
}

/// The body's length in its one spelling. HTTP/2 lets it be said twice, and with zeros before it, which somebody
/// behind may read as another number, or as two.
pub(crate) fn one_length(headers: &mut HeaderMap) -> Result<(), Wrong> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(()) };
    if values.next().is_some() {
        return Err(Wrong::Length);
    }
    let number = head::length(value.as_bytes())?;
    if value.as_bytes() != b"0" && value.as_bytes().starts_with(b"0") {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(number));
    }
    Ok(())
}

/// HTTP/2 may send cookies in several fields; HTTP/1 servers expect one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_ours_in_every_spelling() {
        for name in [
            "x-miid-subject",
            "x_miid_subject",
            "x-miid_identity",
            "x.miid.subject",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded-whatever",
            "forwarded",
            "x-real-ip",
            "x_real_ip",
            "x-original-url",
            "x-rewrite-url",
            "true-client-ip",
            "cf-connecting-ip",
            "x-http-method",
            "x-http-method-override",
            "x_http_method_override",
            "x-method-override",
            "x-miid-",
            "proxy",
            "x_request_id",
            "content_length",
            "transfer_encoding",
            "authorization_",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "x-mii",
            "x-custom",
            "cookie",
            "host",
            "content-type",
            "traceparent",
            "x-request-id",
            "te",
            "priority",
            "prefer",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }

    #[test]
    fn what_is_no_address_is_unknown_in_the_standards_words() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (&FORWARDED_FOR, "2001:db8::1, a\";for=b, 192.0.2.1:80"),
            (&FORWARDED_PROTO, "https"),
            (&FORWARDED_HOST, "a\"b"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        forwarded_by_standard(&mut headers);
        assert_eq!(headers[FORWARDED], "for=\"[2001:db8::1]\";proto=https, for=unknown, for=unknown");
    }

    #[test]
    fn a_length_has_one_spelling() {
        let said = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_LENGTH, HeaderValue::from_str(value).expect("a value"));
            }
            one_length(&mut headers).map(|()| headers.get(CONTENT_LENGTH).cloned())
        };
        assert_eq!(said(&[]), Ok(None));
        for (value, one) in [("0", "0"), ("00", "0"), ("010", "10"), ("10", "10"), ("000000", "0")] {
            assert_eq!(said(&[value]), Ok(Some(HeaderValue::from_static(one))), "{value}");
        }
        for values in [&["0", "00"][..], &["0", "0"], &[""], &["+1"], &["1, 1"], &["1234567890123456789"]] {
            assert_eq!(said(values), Err(Wrong::Length), "{values:?}");
        }
    }

    #[test]
    fn what_connection_names_ends_here_but_not_the_host() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private"),
            ("connection", "host, content-length, x-other"),
            ("x-private", "1"),
            ("x-other", "1"),
            ("host", "a"),
            ("content-length", "3"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("x-stays", "1"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        drop_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "x-stays"]);
    }

    #[test]
    fn only_a_trusted_proxy_says_where_a_request_came_from() {
        let peer: IpAddr = "192.0.2.1".parse().expect("an address");
        let host = HeaderValue::from_static("api.example");
        let said = |trusted: bool| {
            let mut headers = HeaderMap::new();
            headers.append(&FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"));
            headers.append(&FORWARDED_PROTO, HeaderValue::from_static("https"));
            headers.append(FORWARDED, HeaderValue::from_static("for=203.0.113.9"));
            let origin = Origin::new(peer, trusted);
            let believed = trusted.then(|| Believed::of(&headers));
            drop_fields(&mut headers, is_ours);
            forwarded(&mut headers, &origin, believed, &host);
            assert!(!headers.contains_key(FORWARDED));
            forwarded_by_standard(&mut headers);
            let text = |name: &HeaderName| headers[name].to_str().expect("text").to_owned();
            let standard = if trusted {
                "for=203.0.113.9;proto=https;host=\"api.example\", for=192.0.2.1"
            } else {
                "for=192.0.2.1;proto=http;host=\"api.example\""
            };
            assert_eq!(text(&FORWARDED), standard);
            (text(&FORWARDED_FOR), text(&FORWARDED_PROTO), text(&FORWARDED_HOST))
        };
        assert_eq!(said(false), ("192.0.2.1".into(), "http".into(), "api.example".into()));
        assert_eq!(said(true), ("203.0.113.9, 192.0.2.1".into(), "https".into(), "api.example".into()));
    }
}
