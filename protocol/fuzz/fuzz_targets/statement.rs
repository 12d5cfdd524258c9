//! Whatever somebody signs, a statement is accepted for one decision at most, and grants and shares
//! nothing that was not asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use miid_protocol::request::{self, SignInRequest};
use miid_protocol::service::Binding;
use miid_protocol::statement::{AboutChallenge, Context, Decided, Expect, Offer, TYP, verify};
use miid_protocol::{Did, Issuer, SigningKey, jws};

/// The clock of the test vectors.
const NOW_S: i64 = 1_767_322_985;
const ABOUT: AboutChallenge<'static> = AboutChallenge {
    id: "0198e0a0-0000-7000-8000-000000000001",
    nonce: "n-1",
    // The text of the test vectors.
    request: r#"{"challenge_id": "0198e0a0-0000-7000-8000-000000000001", "nonce": "n-1", "service": {"id": "demo-shop", "name": "Demo Shop"}, "binding": "addressed", "binding_message": "Sign in to Demo Shop", "scopes": ["profile", "email"], "claims": ["name", "email"], "risk": "normal", "user_agent": "Firefox", "ip": "192.0.2.7", "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "created_at": "2026-01-02T03:03:00.000Z", "expires_at": "2026-01-02T03:08:00.000Z"}"#,
};
const DISCLOSURE: &str = r#"{"salt": "AAECAwQFBgcICQoLDA0ODw", "claims": {"name": "앨리스 Alice"}}"#;

fuzz_target!(|data: &[u8]| {
    let text = std::str::from_utf8(data).ok();
    if let Some(Ok(request)) = text.map(SignInRequest::parse) {
        assert!(SignInRequest::parse(&request.to_text()).is_ok());
    }

    let gateway = Issuer::parse("https://gw.example").expect("an issuer");
    // The key of the test vectors, so that their payloads are good ones here.
    let key = SigningKey::from_bytes(&std::array::from_fn(|i| i as u8));
    let did = Did::of(&key.verifying_key());
    let context = Context { now_s: NOW_S, gateway: &gateway, client_id: "demo-shop", did: &did };
    let asked = ["profile", "email", "name"].map(String::from);
    let offer = |disclosure| Offer {
        binding: Binding::Addressed,
        scopes: &asked[..2],
        claims: &asked[1..],
        disclosure,
    };

    // The input as the payload of a good signature: at most one decision takes it.
    let token = jws::sign(&key, TYP, data);
    let taken = [
        Expect::Approve(ABOUT, offer(None)),
        Expect::Approve(ABOUT, offer(Some(DISCLOSURE))),
        Expect::Deny(ABOUT),
        Expect::Cancel(ABOUT),
        Expect::Revoke("0198e0a0-0000-7000-8000-00000000000a"),
    ]
    .map(|expect| verify(&token, context, expect));
    assert!(taken.iter().flatten().count() <= 1, "one statement, two decisions");
    for decided in taken.iter().flatten() {
        assert_within(decided, &asked);
    }

    // The input as the disclosure that was signed.
    let Some(disclosure) = text else { return };
    let payload = format!(
        r#"{{"iss":"{did}","sub":"{did}","aud":"demo-shop","gateway":"https://gw.example","jti":"s-1","iat":{NOW_S},"exp":{exp},"decision":"approve","challenge_id":"{id}","nonce":"{nonce}","request":"{request}","match_code":"47","scopes":["profile"],"disclosure":"{digest}"}}"#,
        did = did.as_str(),
        exp = NOW_S + 120,
        id = ABOUT.id,
        nonce = ABOUT.nonce,
        request = request::digest(ABOUT.request),
        digest = jws::digest(disclosure.as_bytes()),
    );
    let token = jws::sign(&key, TYP, payload.as_bytes());
    if let Ok(decided) = verify(&token, context, Expect::Approve(ABOUT, offer(Some(disclosure)))) {
        assert_within(&decided, &asked);
    }
    // Raw, as it came.
    let _ = verify(disclosure, context, Expect::Cancel(ABOUT));
});

fn assert_within(decided: &Decided, asked: &[String]) {
    if let Decided::Approve(approval) = decided {
        assert!(approval.scopes().iter().all(|scope| asked[..2].contains(scope)));
        assert!(approval.claims().keys().all(|name| asked[1..].contains(name)));
        assert!(approval.claims().values().all(|value| value.chars().count() <= 1024));
    }
}
