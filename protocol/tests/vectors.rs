//! The project's own test vectors for sections 1 and 2. Each case gets a fresh replay store, so
//! whether a proof was seen before plays no part here.

use miid_protocol::did::{Did, DidError};
use miid_protocol::proof::{self, ProofError};
use miid_protocol::service::Binding;
use miid_protocol::statement::{self, AboutChallenge, Context, Decided, Expect, Offer, StatementError};
use miid_protocol::{Issuer, SigningKey};
use serde::Deserialize;

fn read<T: for<'de> Deserialize<'de>>(text: &str) -> T {
    serde_json::from_str(text).expect("vectors are JSON of the expected shape")
}

#[derive(Deserialize)]
struct DidVectors {
    valid: Vec<ValidDid>,
    invalid: Vec<InvalidDid>,
}
#[derive(Deserialize)]
struct ValidDid {
    seed: String,
    public_key: String,
    did: String,
    kid: String,
}
#[derive(Deserialize)]
struct InvalidDid {
    did: String,
    code: String,
}

fn unhex(text: &str) -> [u8; 32] {
    let bytes: Vec<u8> =
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect();
    bytes.try_into().expect("32 bytes")
}

#[test]
fn dids() {
    let vectors: DidVectors = read(include_str!("vectors/did.json"));
    for case in &vectors.valid {
        let key = SigningKey::from_bytes(&unhex(&case.seed)).verifying_key();
        assert_eq!(key.to_bytes(), unhex(&case.public_key));
        let did = Did::of(&key);
        assert_eq!(did.as_str(), case.did);
        assert_eq!(did.key_id(), case.kid);
        assert_eq!(Did::parse(&case.did), Ok(did.clone()));
        assert_eq!(Did::from_key_id(&case.kid), Ok(did.clone()));
        assert_eq!(did.verifying_key(), key);
    }
    for case in &vectors.invalid {
        let code = match Did::parse(&case.did) {
            Ok(_) => panic!("accepted {:?}", case.did),
            Err(DidError::Invalid) => "invalid_did",
            Err(DidError::Unsupported) => "unsupported_did_method",
        };
        assert_eq!(code, case.code, "{:?}", case.did);
    }
    assert!(vectors.valid.len() >= 3 && vectors.invalid.len() >= 28);
}

#[derive(Deserialize)]
struct ProofVectors {
    did: String,
    cases: Vec<ProofCase>,
}
#[derive(Deserialize)]
struct ProofCase {
    name: String,
    jws: String,
    request: ProofRequest,
    code: Option<String>,
}
#[derive(Deserialize)]
struct ProofRequest {
    method: String,
    url: String,
    body: String,
    now: i64,
    issuer: String,
}

#[test]
fn proofs() {
    let vectors: ProofVectors = read(include_str!("vectors/proof.json"));
    for case in &vectors.cases {
        let issuer = Issuer::parse(&case.request.issuer).expect("issuer");
        let after_origin = case.request.url.strip_prefix(issuer.as_str()).expect("url of the issuer");
        let path = after_origin.split('?').next().expect("a path");
        let request =
            proof::Request { method: &case.request.method, path, body: case.request.body.as_bytes() };
        let code = match proof::verify(&case.jws, request, &issuer, case.request.now) {
            Ok(proof) => {
                assert_eq!(proof.did.as_str(), vectors.did);
                None
            }
            Err(ProofError::Invalid) => Some("invalid_proof"),
            Err(ProofError::Stale) => Some("stale_proof"),
        };
        assert_eq!(code, case.code.as_deref(), "{}", case.name);
    }
    assert!(vectors.cases.len() >= 46);
}

#[derive(Deserialize)]
struct StatementVectors {
    cases: Vec<StatementCase>,
}
#[derive(Deserialize)]
struct StatementCase {
    name: String,
    jws: String,
    context: StatementContext,
    code: Option<String>,
}
#[derive(Deserialize)]
struct StatementContext {
    now: i64,
    gateway: String,
    client_id: String,
    did: String,
    decision: String,
    challenge_id: Option<String>,
    nonce: Option<String>,
    request: Option<String>,
    binding: Option<Binding>,
    match_code: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    requested_claims: Vec<String>,
    disclosure: Option<String>,
    session_id: Option<String>,
}

fn verify_case(case: &StatementCase) -> Option<&'static str> {
    let at = &case.context;
    let gateway = Issuer::parse(&at.gateway).expect("issuer");
    let did = Did::parse(&at.did).expect("did");
    let context = Context { now_s: at.now, gateway: &gateway, client_id: &at.client_id, did: &did };
    let about = AboutChallenge {
        id: at.challenge_id.as_deref().unwrap_or_default(),
        nonce: at.nonce.as_deref().unwrap_or_default(),
        request: at.request.as_deref().unwrap_or_default(),
    };
    let expect = match at.decision.as_str() {
        "approve" => Expect::Approve(
            about,
            Offer {
                binding: at.binding.expect("binding"),
                scopes: &at.scopes,
                claims: &at.requested_claims,
                disclosure: at.disclosure.as_deref(),
            },
        ),
        "deny" => Expect::Deny(about),
        "cancel" => Expect::Cancel(about),
        "revoke" => Expect::Revoke(at.session_id.as_deref().expect("session_id")),
        other => panic!("unknown decision {other}"),
    };
    match statement::verify(&case.jws, context, expect) {
        Err(StatementError::DidMismatch) => Some("did_mismatch"),
        Err(StatementError::Invalid(_)) => Some("invalid_statement"),
        Ok(Decided::Approve(approval)) if at.binding == Some(Binding::Addressed) => {
            let right = approval.match_code().is(at.match_code.as_deref().expect("a number"));
            (!right).then_some("wrong_match_code")
        }
        Ok(_) => None,
    }
}

#[test]
fn statements() {
    let vectors: StatementVectors = read(include_str!("vectors/statement.json"));
    for case in &vectors.cases {
        assert_eq!(verify_case(case), case.code.as_deref(), "{}", case.name);
    }
    assert!(vectors.cases.len() >= 45, "{}", vectors.cases.len());
}
