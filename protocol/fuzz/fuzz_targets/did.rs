//! Any text is a DID or is refused; one that is a DID has exactly one way to be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use miid_protocol::{ClientId, Did, Handle, Issuer, LoginHint};

fuzz_target!(|text: &str| {
    if let Ok(did) = Did::parse(text) {
        assert_eq!(did.as_str(), text);
        assert_eq!(Did::of(&did.verifying_key()).as_str(), text);
        let again = Did::from_key_id(&did.key_id()).expect("a key id that we made");
        assert_eq!(again.as_str(), text);
        assert!(LoginHint::parse(text).is_ok());
    }
    if let Ok(did) = Did::from_key_id(text) {
        assert_eq!(did.key_id(), text);
    }
    // The other names that a stranger may send.
    if let Ok(handle) = Handle::parse(text) {
        let again = Handle::parse(handle.as_str()).expect("normalised once is normal");
        assert_eq!(again.as_str(), handle.as_str());
    }
    if let Ok(client_id) = ClientId::parse(text) {
        assert_eq!(client_id.as_str(), text);
    }
    if let Ok(issuer) = Issuer::parse(text) {
        assert_eq!(issuer.as_str(), text);
    }
    let _ = LoginHint::parse(text);
});
