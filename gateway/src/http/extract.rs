//! What a request carries, made into types: its body, the service behind a Basic header, the wallet
//! behind a proof, the address that it came from.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::RequestPartsExt as _;
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Path, Query, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::BodyExt as _;
use miid_protocol::secret::{ClientSecret, Secret};
use miid_protocol::{ClientId, ErrorCode, json, proof};
use serde::de::DeserializeOwned;

use super::limits;
use super::{ApiError, App, Control};
use crate::store::{Remembered, Service, StoreError};
use crate::verify::HeldProof;

/// Largest body (section 1).
const MAX_BODY: usize = 64 * 1024;
/// Most that is read of a body that is too long.
const MAX_THROWN_AWAY: usize = 1024 * 1024;

/// How long a body may take to come: it holds a connection meanwhile.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a connection comes from, put into each request by the server.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Where a request comes from: the peer, or what a trusted proxy says in front of itself.
#[derive(Debug, Clone, Copy)]
pub struct Source(pub IpAddr);

impl FromRequestParts<App> for Source {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
        // An IPv4 peer on a dual-stack listener is the IPv4 address that the operator wrote.
        let peer = peer.to_canonical();
        let trusted = |address: &IpAddr| app.settings.trusted_proxies.contains(&address.to_canonical());
        if !trusted(&peer) {
            return Ok(Self(limits::source(peer)));
        }
        let forwarded: Vec<&str> = parts
            .headers
            .get_all("x-forwarded-for")
            .iter()
            .flat_map(|value| value.to_str().unwrap_or("?").split(','))
            .collect();
        Ok(Self(limits::source(nearest(peer, &forwarded, trusted))))
    }
}

/// The `{id}` of a path. What is not even text is no id either: the handler's own 404 answers it.
pub struct PathId(pub String);

impl FromRequestParts<App> for PathId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        let text = parts.extract::<Path<String>>().await;
        Ok(Self(text.map_or_else(|_| String::new(), |Path(text)| text)))
    }
}

/// What stands behind the question mark; a problem document where that is not well-formed.
pub struct QueryOf<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(_) => Err(ApiError::detail(ErrorCode::InvalidRequest, "the query is not well-formed")),
        }
    }
}

/// From the right, past our own proxies, to the nearest address that is none. What stands before it, anyone
/// can write; and where an entry is no address, nothing before it is believed either.
fn nearest(peer: IpAddr, forwarded: &[&str], trusted: impl Fn(&IpAddr) -> bool) -> IpAddr {
    let mut nearest = peer;
    for part in forwarded.iter().rev() {
        let Ok(address) = part.trim().parse::<IpAddr>() else { break };
        nearest = address;
        if !trusted(&address) {
            break;
        }
    }
    nearest
}

/// A body within its bound, as it was sent.
pub struct Body {
    /// The bytes.
    pub bytes: Bytes,
    form: bool,
}

impl Body {
    /// As JSON with nothing twice.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if self.form {
            return Err(ApiError::detail(ErrorCode::InvalidRequest, "the body must be application/json"));
        }
        json::from_slice(&self.bytes).map_err(|error| {
            let why = if error.is_shape() {
                "the JSON body has a member missing, twice, or of the wrong type"
            } else {
                "the body is not JSON"
            };
            ApiError::detail(ErrorCode::InvalidRequest, why)
        })
    }

    /// As JSON or as a form, by its content type: the token endpoints.
    pub fn json_or_form<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if !self.form {
            return self.json();
        }
        // serde_urlencoded refuses a member twice for the members it knows; RFC 6749, section 3.2, does
        // so for all.
        let mut names: Vec<&[u8]> = self
            .bytes
            .split(|b| *b == b'&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split(|b| *b == b'=').next().unwrap_or_default())
            .collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(ApiError::detail(ErrorCode::InvalidRequest, "a parameter stands twice"));
        }
        serde_urlencoded::from_bytes(&self.bytes)
            .map_err(|_| ApiError::detail(ErrorCode::InvalidRequest, "the form is not well-formed"))
    }
}

impl FromRequest<App> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        read_body(&parts, body).await
    }
}

async fn read_body(parts: &Parts, body: axum::body::Body) -> Result<Body, ApiError> {
    if parts.headers.contains_key(CONTENT_ENCODING) {
        return Err(ApiError::detail(ErrorCode::InvalidRequest, "Content-Encoding is not accepted"));
    }
    let content_type = parts.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let essence =
        content_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let form = match essence.as_deref() {
        None | Some("application/json") => false,
        Some("application/x-www-form-urlencoded") => true,
        Some(_) => {
            return Err(ApiError::detail(
                ErrorCode::InvalidRequest,
                "the content type must be application/json (or, for tokens, a form)",
            ));
        }
    };
    match tokio::time::timeout(BODY_TIMEOUT, collect(body)).await {
        Ok(read) => Ok(Body { bytes: read?, form }),
        Err(_) => Err(ApiError::detail(ErrorCode::InvalidRequest, "the body did not come in time")),
    }
}

/// Reads a body within its bound. What is somewhat longer is read, too, and thrown away: the answer to somebody
/// who is still sending would be lost with the connection.
async fn collect(mut body: axum::body::Body) -> Result<Bytes, ApiError> {
    let (mut kept, mut length) = (BytesMut::new(), 0usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::detail(ErrorCode::InvalidRequest, "the body broke off"))?;
        let Ok(piece) = frame.into_data() else { continue };
        length = length.saturating_add(piece.len());
        if length <= MAX_BODY {
            kept.extend_from_slice(&piece);
        } else if length > MAX_THROWN_AWAY {
            break;
        }
    }
    if length > MAX_BODY { Err(ErrorCode::BodyTooLarge.into()) } else { Ok(kept.freeze()) }
}

/// The service that calls, authenticated (HTTP Basic).
pub struct Caller(pub Service);

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let refused = || ApiError::new(ErrorCode::InvalidClient);
        let found = basic(parts);
        let now = app.clock.now();
        if let Some((client_id, secret)) = &found
            && let Some(service) = app.control().services.get(client_id)
            && service.accepts(secret.hash(), now)
        {
            return Ok(Self(service.clone()));
        }
        // Whoever is wrong is counted by address before anything is looked up for it.
        let Source(address) = Source::from_request_parts(parts, app).await?;
        app.limits.wrong_login(address)?;
        let (client_id, secret) = found.ok_or_else(refused)?;
        // Registered, or given a new secret, within the last second: the store knows.
        let services = app.store.read().await?.services().await?;
        let accepted = services.get(&client_id).filter(|service| service.accepts(secret.hash(), now));
        let service = accepted.cloned().ok_or_else(refused)?;
        // From now on it is known without looking. Read once more: what stands above may be old by the time it would
        // be put down. Where that fails, the next one looks again.
        let _ = app.renew_control(services_again(app, &client_id, &secret)).await;
        Ok(Self(service))
    }
}

/// Every service, unless somebody else came first and this one is known by now.
async fn services_again(
    app: &App,
    client_id: &ClientId,
    secret: &Secret<ClientSecret>,
) -> Result<Option<Control>, StoreError> {
    let known = app.control();
    let accepts = |service: &Service| service.accepts(secret.hash(), app.clock.now());
    if known.services.get(client_id).is_some_and(accepts) {
        return Ok(None);
    }
    let services = app.store.read().await?.services().await?;
    Ok(Some(Control { services, ring: known.ring.clone() }))
}

fn basic(parts: &Parts) -> Option<(ClientId, Secret<ClientSecret>)> {
    let encoded = authorization(parts, "basic")?;
    if encoded.len() > 512 {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (client_id, secret) = decoded.split_once(':')?;
    Some((ClientId::parse(client_id).ok()?, Secret::parse(secret).ok()?))
}

/// A wallet's request whose proof holds for it, with its body. Whether the proof was seen before is
/// asked in the transaction of the request.
pub struct Proved {
    /// The proof.
    pub proof: HeldProof,
    /// The body.
    pub body: Body,
}

/// Whether a proof that was just remembered counts for anything.
pub fn accepted(remembered: Remembered) -> Result<(), ErrorCode> {
    match remembered {
        Remembered::Fresh => Ok(()),
        Remembered::Replayed => Err(ErrorCode::ReplayedProof),
        Remembered::Retired => Err(ErrorCode::DidRetired),
    }
}

impl FromRequest<App> for Proved {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let Source(address) = Source::from_request_parts(&mut parts, app).await?;
        app.limits.request(address)?;
        let body = read_body(&parts, body).await?;
        Ok(Self { proof: prove(app, &parts, &body, address)?, body })
    }
}

/// A request that may come without a proof, where what its body says is proof enough. A proof that is there must
/// hold all the same.
pub struct MaybeProved {
    /// The proof, where one came.
    pub proof: Option<HeldProof>,
    /// The body.
    pub body: Body,
    /// Where it comes from: whatever else is checked is bounded by it first.
    pub address: IpAddr,
}

impl FromRequest<App> for MaybeProved {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let Source(address) = Source::from_request_parts(&mut parts, app).await?;
        app.limits.request(address)?;
        let body = read_body(&parts, body).await?;
        let proof = match parts.headers.contains_key(AUTHORIZATION) {
            true => Some(prove(app, &parts, &body, address)?),
            false => None,
        };
        Ok(Self { proof, body, address })
    }
}

/// Everything about a proof but whether it was seen before.
fn prove(app: &App, parts: &Parts, body: &Body, address: IpAddr) -> Result<HeldProof, ApiError> {
    let token = authorization(parts, proof::SCHEME).ok_or(ErrorCode::InvalidProof)?;
    let claimed = claimed_key(token).ok_or(ErrorCode::InvalidProof)?;
    app.limits.did(address, &claimed)?;
    // The path as sent: axum nests and rewrites `uri`, the original stands beside it.
    let path = match parts.extensions.get::<OriginalUri>() {
        Some(OriginalUri(uri)) => uri.path(),
        None => parts.uri.path(),
    };
    let received = proof::Request { method: parts.method.as_str(), path, body: &body.bytes };
    let proof = HeldProof::check(token, received, &app.issuer, app.clock.now())?;
    app.limits.proved(&claimed);
    if app.proofs.fetch_add(1, Ordering::Relaxed) >= app.settings.bounds.max_proofs {
        app.proofs.fetch_sub(1, Ordering::Relaxed);
        return Err(ApiError::new(ErrorCode::Busy).retry_after_s(30));
    }
    Ok(proof)
}

/// What stands behind a scheme in the one `Authorization` header: a second one would leave open which of
/// them was checked.
pub fn authorization<'p>(parts: &'p Parts, scheme: &str) -> Option<&'p str> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let (found, credentials) = values.next()?.to_str().ok()?.split_once(' ')?;
    (values.next().is_none() && found.eq_ignore_ascii_case(scheme)).then(|| credentials.trim())
}

/// The key that a proof or a statement claims to be made with, before anything about it was checked.
pub fn claimed_key(token: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Kid {
        kid: String,
    }
    if token.len() > miid_protocol::jws::MAX_LENGTH {
        return None;
    }
    let header = miid_protocol::jws::decode(token.split('.').next()?)?;
    let kid: Kid = serde_json::from_slice(&header).ok()?;
    Some(kid.kid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_our_own_proxies_wrote_is_believed() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (proxy, second) = (ip("10.0.0.1"), ip("10.0.0.2"));
        let trusted = |address: &IpAddr| [proxy, second].contains(address);
        let source = |forwarded: &[&str]| nearest(proxy, forwarded, trusted);
        assert_eq!(source(&[]), proxy);
        assert_eq!(source(&["192.0.2.7"]), ip("192.0.2.7"));
        assert_eq!(source(&["203.0.113.9", " 192.0.2.7", " 10.0.0.2"]), ip("192.0.2.7"));
        // What a client wrote itself stands further left, or is no address: neither is believed.
        assert_eq!(source(&["203.0.113.9", "192.0.2.7"]), ip("192.0.2.7"));
        assert_eq!(source(&["203.0.113.9", "unknown"]), proxy);
        assert_eq!(source(&["203.0.113.9", "192.0.2.7:4711", "10.0.0.2"]), second);
    }
}
