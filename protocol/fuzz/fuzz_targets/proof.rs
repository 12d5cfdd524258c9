//! Whatever somebody signs with a key of their own, only a proof of this very request is accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use miid_protocol::proof::{MAX_SKEW_S, Request, TYP, verify};
use miid_protocol::{Did, Issuer, SigningKey, jws};

/// The clock of the test vectors.
const NOW_S: i64 = 1_767_322_985;

fuzz_target!(|data: &[u8]| {
    let issuer = Issuer::parse("https://gw.example").expect("an issuer");
    let with_body =
        Request { method: "POST", path: "/v1/wallet/challenges/c1/approve", body: br#"{"statement":"x"}"# };
    let without_body = Request { method: "GET", path: "/v1/wallet/events", body: b"" };
    // The key of the test vectors, so that their payloads are good ones here.
    let key = SigningKey::from_bytes(&std::array::from_fn(|i| i as u8));
    let did = Did::of(&key.verifying_key());

    // As it came, and with the input as the payload of a good signature.
    let signed = jws::sign(&key, TYP, data);
    for token in std::str::from_utf8(data).into_iter().chain([signed.as_str()]) {
        let results = [with_body, without_body].map(|request| verify(token, request, &issuer, NOW_S));
        for proof in results.iter().flatten() {
            assert_eq!(proof.did.as_str(), did.as_str());
            assert!(proof.iat.abs_diff(NOW_S) <= MAX_SKEW_S.unsigned_abs());
            assert!((1..=128).contains(&proof.jti.len()));
        }
        assert!(!results.iter().all(Result::is_ok), "one proof for two requests");
    }
});
