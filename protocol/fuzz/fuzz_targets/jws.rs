//! No token makes the verifier fall, and no token that was signed stays good when a byte of it changes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use miid_protocol::{SigningKey, jws, proof, statement};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        for typ in [proof::TYP, statement::TYP] {
            if let Ok(verified) = jws::verify(text, typ) {
                // Strict base64url: a payload has one spelling.
                assert_eq!(text.split('.').nth(1), Some(jws::encode(&verified.payload).as_str()));
            }
        }
    }

    let [place_high, place_low, change, payload @ ..] = data else { return };
    let key = SigningKey::from_bytes(&[7; 32]);
    let token = jws::sign(&key, proof::TYP, payload);
    if let Ok(verified) = jws::verify(&token, proof::TYP) {
        assert_eq!(verified.payload, payload);
    }
    let mut bytes = token.clone().into_bytes();
    let place = usize::from(u16::from_be_bytes([*place_high, *place_low])) % bytes.len();
    bytes[place] ^= *change;
    match String::from_utf8(bytes) {
        Ok(changed) if changed != token => {
            assert!(jws::verify(&changed, proof::TYP).is_err(), "accepted after a change: {changed}");
        }
        _ => {}
    }
});
