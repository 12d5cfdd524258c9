//! The two addresses of a linked sign-in: the one that a page opens in the wallet, and the one that the wallet
//! opens in the person's browser (sections 4 and 5). Both carry a secret, so neither has a `Debug`.

use std::fmt;

use crate::did::Did;
use crate::ids::{ChallengeId, Issuer, ParseError};
use crate::secret::{LinkSecret, ResponseCode, Secret};

/// The scheme that a wallet registers with the desktop.
pub const SCHEME: &str = "miid";
/// Longest link that is looked at.
pub const MAX_LINK: usize = 2048;

const NO_LINK: ParseError = ParseError("not a link to a request");
const NO_RETURN: ParseError = ParseError("not the address that a wallet opens");

/// `miid://challenge/<id>?iss=<issuer>&s=miid_ls_…`
#[derive(Clone)]
pub struct WalletLink {
    /// The challenge to claim.
    pub challenge_id: ChallengeId,
    /// Its gateway. Any page can write any name here: a wallet compares it with those it is enrolled with.
    pub issuer: Issuer,
    /// What it is claimed with.
    pub secret: Secret<LinkSecret>,
}

impl WalletLink {
    /// Reads one, strictly: each member once, nothing else about it, no fragment, no user, no port.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > MAX_LINK || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NO_LINK);
        }
        let (scheme, rest) = text.split_once("://").ok_or(NO_LINK)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(NO_LINK);
        }
        let (place, query) = rest.split_once('?').ok_or(NO_LINK)?;
        let id = place.strip_prefix("challenge/").ok_or(NO_LINK)?;
        // Some desktops normalise the address of a scheme they do not know.
        let id = id.strip_suffix('/').unwrap_or(id);
        let ([issuer, secret], []) = members(query, ["iss", "s"], []).ok_or(NO_LINK)?;
        Ok(Self {
            challenge_id: ChallengeId::parse(id).map_err(|_| NO_LINK)?,
            issuer: Issuer::parse(&issuer).map_err(|_| NO_LINK)?,
            secret: Secret::parse(&secret).map_err(|_| NO_LINK)?,
        })
    }

    /// The address; it holds the secret.
    pub fn to_text(&self) -> String {
        let (id, issuer, secret) = (&self.challenge_id, &self.issuer, self.secret.expose());
        format!("{SCHEME}://challenge/{id}?iss={issuer}&s={secret}")
    }
}

/// What stands behind the `#` of `return_to`. A fragment reaches no server and no `Referer`.
#[derive(Clone)]
pub struct Returned {
    /// The challenge that was approved.
    pub challenge_id: ChallengeId,
    /// What the exchange needs besides the code.
    pub response_code: Secret<ResponseCode>,
    /// Which gateway says so.
    pub issuer: Issuer,
    /// Who approved. Only the browser that is sent here learns it, and with it whom it would go on as.
    pub did: Option<Did>,
}

impl Returned {
    /// The address to open: a registered return URL, and this.
    pub fn to_address(&self, return_url: &str) -> String {
        let (id, code, issuer) = (&self.challenge_id, self.response_code.expose(), &self.issuer);
        let did = self.did.as_ref().map(|did| format!("&did={did}")).unwrap_or_default();
        format!("{return_url}#challenge_id={id}&response_code={code}&iss={issuer}{did}")
    }

    /// Reads the fragment of such an address.
    pub fn parse(fragment: &str) -> Result<Self, ParseError> {
        if fragment.len() > MAX_LINK {
            return Err(NO_RETURN);
        }
        let ([id, code, issuer], [did]) =
            members(fragment, ["challenge_id", "response_code", "iss"], ["did"]).ok_or(NO_RETURN)?;
        Ok(Self {
            did: did.map(|did| Did::parse(&did)).transpose().map_err(|_| NO_RETURN)?,
            challenge_id: ChallengeId::parse(&id).map_err(|_| NO_RETURN)?,
            response_code: Secret::parse(&code).map_err(|_| NO_RETURN)?,
            issuer: Issuer::parse(&issuer).map_err(|_| NO_RETURN)?,
        })
    }
}

/// Exactly these members, each once, in any order; of the last ones each may be left out.
fn members<const N: usize, const M: usize>(
    text: &str,
    names: [&str; N],
    optional: [&str; M],
) -> Option<([String; N], [Option<String>; M])> {
    let mut values: [Option<String>; N] = [const { None }; N];
    let mut others: [Option<String>; M] = [const { None }; M];
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=')?;
        let slot = match names.iter().position(|known| *known == name) {
            Some(place) => &mut values[place],
            None => &mut others[optional.iter().position(|known| *known == name)?],
        };
        if slot.replace(decode(value)?).is_some() {
            return None;
        }
    }
    let mut all = [const { String::new() }; N];
    for (value, slot) in values.into_iter().zip(&mut all) {
        *slot = value?;
    }
    Some((all, others))
}

/// Percent-encoding undone: a browser may encode what we left as it is.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Debug for WalletLink {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalletLink")
            .field("challenge_id", &self.challenge_id)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Returned {
    /// Without the code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returned").field("challenge_id", &self.challenge_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198e0a0-0000-7000-8000-000000000001";

    fn link() -> WalletLink {
        WalletLink {
            challenge_id: ChallengeId::parse(ID).expect("id"),
            issuer: Issuer::parse("http://127.0.0.1:14000").expect("issuer"),
            secret: Secret::from_bytes([7; 32]),
        }
    }

    #[test]
    fn a_link_is_read_as_it_was_written() {
        let text = link().to_text();
        assert!(text.starts_with(&format!("miid://challenge/{ID}?iss=http://127.0.0.1:14000&s=miid_ls_")));
        for text in [
            text.clone(),
            text.replace("miid://", "MIID://"),
            text.replace("http://127.0.0.1:14000", "http%3A%2F%2F127.0.0.1%3A14000"),
            text.replace('?', "/?"),
        ] {
            let read = WalletLink::parse(&text).expect(&text);
            assert_eq!(read.to_text(), link().to_text());
        }
        assert!(!format!("{:?}", link()).contains("miid_ls_"));
    }

    #[test]
    fn what_is_no_link_is_refused() {
        let good = link().to_text();
        let secret = link().secret.expose().to_owned();
        for bad in [
            String::new(),
            "miid://".into(),
            good.replace("miid://", "https://"),
            good.replace("challenge/", "settings/"),
            good.replace(ID, "1"),
            good.replace("challenge/", "challenge/../"),
            good.replace("http://127.0.0.1:14000", "http://example.com"),
            good.replace("http://127.0.0.1:14000", "https://example.com/path"),
            good.replace(&secret, "miid_ls_short"),
            good.replace("miid_ls_", "miid_rc_"),
            good.replace("&s=", "&s=x&s="),
            format!("{good}&iss=https://other.example"),
            format!("{good}&more=1"),
            format!("{good}#fragment"),
            format!("{good}%"),
            format!("{good} "),
            format!("{good}&{}", "x".repeat(MAX_LINK)),
        ] {
            assert!(WalletLink::parse(&bad).is_err(), "{bad}");
        }
    }

    fn returned(did: Option<Did>) -> Returned {
        Returned {
            challenge_id: ChallengeId::parse(ID).expect("id"),
            response_code: Secret::from_bytes([9; 32]),
            issuer: Issuer::parse("https://id.example.com").expect("issuer"),
            did,
        }
    }

    fn somebody() -> Did {
        Did::of(&crate::SigningKey::from_bytes(&[3; 32]).verifying_key())
    }

    #[test]
    fn a_return_goes_through_an_address() {
        for returned in [returned(None), returned(Some(somebody()))] {
            let address = returned.to_address("https://shop.example/auth/return");
            let (page, fragment) = address.split_once('#').expect("a fragment");
            assert_eq!(page, "https://shop.example/auth/return");
            let read = Returned::parse(fragment).expect("parses");
            assert_eq!(read.response_code.hash(), returned.response_code.hash());
            assert_eq!((read.challenge_id, read.issuer), (returned.challenge_id, returned.issuer.clone()));
            assert_eq!(read.did, returned.did);
            assert!(!format!("{returned:?}").contains("miid_rc_"));
        }
    }

    #[test]
    fn what_is_no_return_is_refused() {
        let good = returned(Some(somebody())).to_address("").split_off(1);
        assert!(Returned::parse(&good).is_ok());
        for bad in [
            String::new(),
            "challenge_id=1".into(),
            good.replace("miid_rc_", "miid_ac_"),
            good.replace("&iss=", "&issuer="),
            good.replace(somebody().as_str(), "somebody"),
            good.replace(somebody().as_str(), ""),
            format!("{good}&did={}", somebody()),
            format!("{good}&x=1"),
        ] {
            assert!(Returned::parse(&bad).is_err(), "{bad}");
        }
    }
}
