//! The wallet's half: signing a decision.

use ed25519_dalek::SigningKey;
use serde::Serialize;

use super::TYP;
use crate::did::Did;
use crate::ids::{ChallengeId, ClientId, Issuer, SessionId};
use crate::proof::to_json;
use crate::service::DenyReason;
use crate::{jws, request};

/// What a wallet signs; members that do not belong to the decision stay absent.
#[derive(Debug, Clone, Serialize)]
struct Payload<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    gateway: &'a str,
    jti: &'a str,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge_id: Option<ChallengeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<DenyReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    match_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disclosure: Option<String>,
}

/// What a wallet decides, to be signed.
#[derive(Debug, Clone, Copy)]
pub enum Decision<'a> {
    /// Yes to the request with this text.
    Approve {
        /// The request text that was shown.
        request_text: &'a str,
        /// What was parsed from it.
        request: &'a request::SignInRequest,
        /// The number that the person typed; `None` for a linked challenge.
        match_code: Option<&'a str>,
        /// What is granted.
        scopes: &'a [String],
        /// The disclosure text that goes along, where anything is shared.
        disclosure: Option<&'a str>,
    },
    /// No.
    Deny {
        /// The request text that was shown.
        request_text: &'a str,
        /// What was parsed from it.
        request: &'a request::SignInRequest,
        /// `declined` or `not_me`.
        reason: DenyReason,
    },
    /// The approval is taken back.
    Cancel {
        /// The request text that was shown.
        request_text: &'a str,
        /// What was parsed from it.
        request: &'a request::SignInRequest,
    },
    /// The session is to end.
    Revoke {
        /// Its service.
        client_id: &'a ClientId,
        /// The session.
        session_id: SessionId,
    },
    /// The signer's identity is to end, now or whenever this is sent: it does not run out, so that it can be
    /// printed.
    Retire,
}

/// Signs a decision. `jti` must be fresh for ever; `now_s` is NumericDate by the gateway's clock.
pub fn sign(key: &SigningKey, decision: Decision<'_>, gateway: &Issuer, jti: &str, now_s: i64) -> String {
    let did = Did::of(&key.verifying_key());
    let mut payload = Payload {
        iss: did.as_str(),
        sub: did.as_str(),
        aud: "",
        gateway: gateway.as_str(),
        jti,
        iat: now_s,
        exp: Some(now_s + 120),
        decision: "",
        challenge_id: None,
        nonce: None,
        request: None,
        session_id: None,
        reason: None,
        match_code: None,
        scopes: None,
        disclosure: None,
    };
    match decision {
        Decision::Approve { request_text, request, match_code, scopes, disclosure } => {
            payload.about(request_text, request);
            payload.decision = "approve";
            payload.match_code = match_code;
            payload.scopes = Some(scopes);
            payload.disclosure = disclosure.map(|text| jws::digest(text.as_bytes()));
        }
        Decision::Deny { request_text, request, reason } => {
            payload.about(request_text, request);
            payload.decision = "deny";
            payload.reason = Some(reason);
        }
        Decision::Cancel { request_text, request } => {
            payload.about(request_text, request);
            payload.decision = "cancel";
        }
        Decision::Revoke { client_id, session_id } => {
            payload.aud = client_id.as_str();
            payload.decision = "revoke";
            payload.session_id = Some(session_id);
        }
        Decision::Retire => {
            payload.aud = gateway.as_str();
            payload.decision = "retire";
            payload.exp = None;
        }
    }
    jws::sign(key, TYP, &to_json(&payload))
}

impl<'a> Payload<'a> {
    fn about(&mut self, text: &str, request: &'a request::SignInRequest) {
        self.aud = request.service.id.as_str();
        self.challenge_id = Some(request.challenge_id);
        self.nonce = Some(&request.nonce);
        self.request = Some(request::digest(text));
    }
}
