//! Where the person's browser is sent after a linked yes. The gateway says it, and the wallet opens it with the
//! desktop's own means, so nothing but a web address of exactly this sign-in gets that far.

use std::fmt;

use miid_protocol::link::Returned;
use miid_protocol::{ChallengeId, Did, Issuer};
use reqwest::Url;
use zeroize::Zeroizing;

/// Longest address that is opened.
const MAX_ADDRESS: usize = 4096;

/// A registered return URL, with the response code behind the `#`. The code is a secret, so there is no `Debug` of
/// it, and it is wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct ReturnTo(Zeroizing<String>);

impl ReturnTo {
    /// Reads it: https (or http on this computer, from a gateway that is here, too), nobody's user name, and a fragment that names this challenge, this
    /// gateway, and nobody else as the one who approved.
    pub fn read(text: &str, challenge_id: ChallengeId, issuer: &Issuer, did: &Did) -> Option<Self> {
        if text.len() > MAX_ADDRESS || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let is_web = match url.scheme() {
            "https" => true,
            // Without encryption only where the gateway is without it, too: a demo, all of it on this computer.
            "http" => is_plain(issuer) && url.host_str().is_some_and(is_loopback),
            _ => false,
        };
        let has_user = !url.username().is_empty() || url.password().is_some();
        let returned = Returned::parse(url.fragment()?).ok()?;
        let is_ours = returned.challenge_id == challenge_id
            && returned.issuer == *issuer
            && returned.did.is_none_or(|approved_by| approved_by == *did);
        // What is opened is what was looked at, byte for byte as the parser understood it.
        (is_web && !has_user && is_ours).then(|| Self(Zeroizing::new(url.into())))
    }

    /// The address; it holds the response code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Issuers over http are on this computer, or they were none.
fn is_plain(issuer: &Issuer) -> bool {
    issuer.as_str().starts_with("http://")
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_matches(|c| c == '[' || c == ']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for ReturnTo {
    /// Without the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReturnTo(…)")
    }
}

#[cfg(test)]
mod tests {
    use miid_protocol::secret::Secret;

    use super::*;
    use crate::identity::Identity;
    use crate::request::tests::id;
    use crate::vault::tests::gateway;

    fn somebody() -> Did {
        Identity::from_seed(&[7; 32]).did().clone()
    }

    fn address_with(return_url: &str, n: u32, did: Option<Did>) -> String {
        let response_code = Secret::from_bytes([9; 32]);
        Returned { challenge_id: id(n), response_code, issuer: gateway(), did }.to_address(return_url)
    }

    fn address(return_url: &str, n: u32) -> String {
        address_with(return_url, n, Some(somebody()))
    }

    fn read(text: &str) -> Option<ReturnTo> {
        ReturnTo::read(text, id(1), &gateway(), &somebody())
    }

    #[test]
    fn a_web_address_of_this_sign_in_is_opened_as_it_was_given() {
        for url in
            ["https://shop.example/auth/return", "http://127.0.0.1:8080/auth/return", "http://[::1]/r?a=1"]
        {
            let text = address(url, 1);
            assert_eq!(read(&text).expect(url).as_str(), text);
        }
    }

    #[test]
    fn a_gateway_elsewhere_opens_nothing_on_this_computer() {
        let issuer = Issuer::parse("https://id.example.com").expect("issuer");
        let opened = |return_url: &str| {
            let response_code = Secret::from_bytes([9; 32]);
            let returned = Returned { challenge_id: id(1), response_code, issuer: issuer.clone(), did: None };
            ReturnTo::read(&returned.to_address(return_url), id(1), &issuer, &somebody()).is_some()
        };
        assert!(opened("https://shop.example/auth/return"));
        for here in ["http://127.0.0.1:8080/auth/return", "http://localhost/r", "http://[::1]:631/jobs"] {
            assert!(!opened(here), "{here}");
        }
    }

    #[test]
    fn nothing_else_is_opened() {
        let good = address("https://shop.example/auth/return", 1);
        let elsewhere = Issuer::parse("https://id.example.com").expect("issuer");
        assert_eq!(ReturnTo::read(&good, id(2), &gateway(), &somebody()), None);
        assert_eq!(ReturnTo::read(&good, id(1), &elsewhere, &somebody()), None);
        // The page would go on as somebody else.
        let other = Identity::from_seed(&[8; 32]).did().clone();
        assert_eq!(ReturnTo::read(&good, id(1), &gateway(), &other), None);
        assert!(read(&address_with("https://shop.example/r", 1, None)).is_some());
        let fragment = good.split_once('#').expect("fragment").1;
        for bad in [
            String::new(),
            "https://shop.example/auth/return".into(),
            address("file:///etc/passwd", 1),
            address("javascript:alert(1)//", 1),
            address("miid://challenge/1", 1),
            address("http://shop.example/auth/return", 1),
            address("http://localhost.evil.example/", 1),
            address("https://bank.example@evil.example/", 1),
            address("--help", 1),
            format!("{good}&more=1"),
            format!("{good} --new-window"),
            format!("https://shop.example/{}#{fragment}", "x".repeat(MAX_ADDRESS)),
            good.replace("miid_rc_", "miid_ac_"),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
        assert!(!format!("{:?}", read(&good)).contains("miid_rc_"));
    }
}
