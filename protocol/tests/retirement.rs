//! A retirement may be made in advance and printed, so it does not run out; everything else about it is as strict
//! as about any statement (section 2).

use miid_protocol::statement::{self, Context, Decided, Decision, Expect, StatementError};
use miid_protocol::{Did, Issuer, SigningKey, jws};
use serde_json::json;

const NOW: i64 = 1_790_000_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn did(key: &SigningKey) -> Did {
    Did::of(&key.verifying_key())
}

fn gateway() -> Issuer {
    Issuer::parse("https://id.example.com").expect("issuer")
}

fn read(token: &str, now_s: i64, did: &Did, gateway: &Issuer) -> Result<Decided, StatementError> {
    // Whatever service the caller has in mind: a retirement is about none.
    statement::verify(token, Context { now_s, gateway, client_id: "demo-shop", did }, Expect::Retire)
}

#[test]
fn one_that_was_printed_years_ago_still_counts() {
    let token = statement::sign(&key(), Decision::Retire, &gateway(), "on-paper", NOW);
    let decided = read(&token, NOW + 20 * 365 * 86_400, &did(&key()), &gateway()).expect("holds");
    let Decided::Retire(retirement) = decided else { panic!("{decided:?}") };
    assert_eq!(retirement.into_made().jti(), "on-paper");
}

#[test]
fn it_counts_at_its_gateway_for_its_signer_and_from_its_time_on() {
    let token = statement::sign(&key(), Decision::Retire, &gateway(), "on-paper", NOW);
    let other = SigningKey::from_bytes(&[2; 32]);
    assert_eq!(read(&token, NOW, &did(&other), &gateway()), Err(StatementError::DidMismatch));
    let elsewhere = Issuer::parse("https://other.example").expect("issuer");
    assert!(matches!(read(&token, NOW, &did(&key()), &elsewhere), Err(StatementError::Invalid(_))));
    assert!(matches!(read(&token, NOW - 61, &did(&key()), &gateway()), Err(StatementError::Invalid(_))));
}

#[test]
fn its_members_are_its_own() {
    let name = did(&key());
    let good = json!({"iss": name.as_str(), "sub": name.as_str(), "aud": gateway().as_str(),
        "gateway": gateway().as_str(), "jti": "on-paper", "decision": "retire", "iat": NOW});
    let check = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut payload = good.clone();
        change(&mut payload);
        let token = jws::sign(&key(), statement::TYP, payload.to_string().as_bytes());
        read(&token, NOW, &name, &gateway()).is_ok()
    };
    assert!(check(&|_| ()));
    assert!(check(&|payload| payload["exp"] = json!(NOW + 300)));
    assert!(!check(&|payload| payload["exp"] = json!(NOW + 301)));
    assert!(!check(&|payload| payload["exp"] = json!(NOW)));
    assert!(!check(&|payload| payload["exp"] = json!(null)));
    assert!(!check(&|payload| payload["aud"] = json!("demo-shop")));
    assert!(!check(&|payload| payload["decision"] = json!("revoke")));
    assert!(!check(&|payload| payload["session_id"] = json!("0198e0a0-0000-7000-8000-000000000001")));
    assert!(!check(&|payload| payload["reason"] = json!("not_me")));
}

#[test]
fn a_revocation_without_an_end_does_not_count() {
    let name = did(&key());
    let payload = json!({"iss": name.as_str(), "sub": name.as_str(), "aud": "demo-shop",
        "gateway": gateway().as_str(), "jti": "x", "decision": "revoke", "session_id": "1", "iat": NOW});
    let token = jws::sign(&key(), statement::TYP, payload.to_string().as_bytes());
    let context = Context { now_s: NOW, gateway: &gateway(), client_id: "demo-shop", did: &name };
    assert!(statement::verify(&token, context, Expect::Revoke("1")).is_err());
}
