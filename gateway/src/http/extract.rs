//! What a request carries, made into types: its body, the service behind a Basic header, the wallet
//! behind a proof, the address that it came from.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use axum::RequestPartsExt as _;
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Path, Query, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use miid_protocol::secret::{ClientSecret, Secret};
use miid_protocol::{ClientId, ErrorCode, json, proof};
use serde::de::DeserializeOwned;

use super::limits;
use super::{ApiError, App};
use crate::store::Service;
use crate::verify::HeldProof;

/// Largest body (section 1).
const MAX_BODY: usize = 64 * 1024;

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
        let trusted = |address: &IpAddr| app.settings.trusted_proxies.contains(address);
        if !trusted(&peer) {
            return Ok(Self(limits::source(peer)));
        }
        // The nearest address that is no proxy of ours: what stands before it, anyone can write.
        let forwarded = parts
            .headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|part| part.trim().parse::<IpAddr>().ok())
            .collect::<Vec<_>>();
        let nearest = forwarded.iter().rev().find(|address| !trusted(address)).copied();
        Ok(Self(limits::source(nearest.unwrap_or(peer))))
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
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(Body { bytes: collected.to_bytes(), form }),
        Err(error) if error.is::<LengthLimitError>() => Err(ErrorCode::BodyTooLarge.into()),
        Err(_) => Err(ApiError::detail(ErrorCode::InvalidRequest, "the body broke off")),
    }
}

/// The service that calls, authenticated (HTTP Basic).
pub struct Caller(pub Service);

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let refused = || ApiError::new(ErrorCode::InvalidClient);
        let (client_id, secret) = basic(parts).ok_or_else(refused)?;
        let now = app.clock.now();
        if let Some(service) = app.control().services.get(&client_id)
            && service.accepts(secret.hash(), now)
        {
            return Ok(Self(service.clone()));
        }
        // Registered, or given a new secret, within the last second: the store knows.
        let services = app.store.read().await?.services().await?;
        match services.get(&client_id) {
            Some(service) if service.accepts(secret.hash(), now) => Ok(Self(service.clone())),
            _ => Err(refused()),
        }
    }
}

fn basic(parts: &Parts) -> Option<(ClientId, Secret<ClientSecret>)> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > 512 {
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

impl FromRequest<App> for Proved {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let Source(address) = Source::from_request_parts(&mut parts, app).await?;
        app.limits.request(address)?;
        let body = read_body(&parts, body).await?;

        let token = did_proof(&parts).ok_or(ErrorCode::InvalidProof)?.to_owned();
        let claimed = claimed_key(&token).ok_or(ErrorCode::InvalidProof)?;
        app.limits.did(address, &claimed)?;
        // The path as sent: axum nests and rewrites `uri`, the original stands beside it.
        let path = match parts.extensions.get::<OriginalUri>() {
            Some(OriginalUri(uri)) => uri.path(),
            None => parts.uri.path(),
        };
        let received = proof::Request { method: parts.method.as_str(), path, body: &body.bytes };
        let proof = HeldProof::check(&token, received, &app.issuer, app.clock.now())?;
        app.limits.proved(&claimed);
        if app.proofs.fetch_add(1, Ordering::Relaxed) >= app.settings.bounds.max_proofs {
            app.proofs.fetch_sub(1, Ordering::Relaxed);
            return Err(ApiError::new(ErrorCode::Busy).retry_after_s(30));
        }
        Ok(Self { proof, body })
    }
}

fn did_proof(parts: &Parts) -> Option<&str> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    // A second header would leave open which of them was checked.
    (values.next().is_none() && scheme.eq_ignore_ascii_case(proof::SCHEME)).then(|| token.trim_start())
}

/// The key that a proof claims to be made with, before anything about it was checked.
fn claimed_key(token: &str) -> Option<String> {
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
