//! What a service is told before it starts. Parsed once; what is wrong is said in words for whoever
//! starts it.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use miid_protocol::secret::{ClientSecret, Secret};
use miid_protocol::service::Binding;
use miid_protocol::{ClientId, Issuer, Lifetime, paths, text};

use crate::address::Network;
use crate::outside::Outside;

/// `POST /auth/start` each minute from one address (section 2 says at least this many).
pub const DEFAULT_START_RATE: NonZeroU32 = match NonZeroU32::new(60) {
    Some(rate) => rate,
    None => unreachable!(),
};
/// Without the event stream for so long, a session is introspected before it is trusted (section 4).
pub const DEFAULT_INTROSPECT_AFTER: Lifetime = Lifetime::from_secs(60);
/// Without any word from the gateway for so long, no session is trusted (section 4).
pub const DEFAULT_FAIL_CLOSED_AFTER: Lifetime = Lifetime::from_secs(600);

/// Why a service cannot be set up as it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct ConfigError {
    what: &'static str,
    why: String,
}

impl ConfigError {
    /// Names the setting and what is wrong with it; never the value, which may be a secret.
    pub fn new(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self { what, why: why.to_string() }
    }
}

/// How people may sign in at a service (section 4, "Two bindings").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bindings {
    /// By opening the wallet on the same machine, or by typing who they are.
    #[default]
    Any,
    /// By opening the wallet on the same machine only: what a page cannot relay.
    Linked,
    /// By typing who they are only.
    Addressed,
}

impl Bindings {
    /// Whether this way is offered.
    pub const fn offers(self, binding: Binding) -> bool {
        matches!(
            (self, binding),
            (Self::Any, _) | (Self::Linked, Binding::Linked) | (Self::Addressed, Binding::Addressed)
        )
    }

    /// As on the command line, and as pages are told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Linked => "linked",
            Self::Addressed => "addressed",
        }
    }
}

impl FromStr for Bindings {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        [Self::Any, Self::Linked, Self::Addressed]
            .into_iter()
            .find(|bindings| bindings.as_str() == text)
            .ok_or_else(|| ConfigError::new("binding", "it is any, linked or addressed"))
    }
}

/// A service's settings; [`Config::new`] takes what has no default, the rest can be changed after.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the gateway is.
    pub gateway_url: Issuer,
    /// What the gateway calls itself, where that differs from where it is.
    pub issuer: Issuer,
    /// This service's name at the gateway.
    pub client_id: ClientId,
    /// And its password there.
    pub client_secret: Secret<ClientSecret>,
    /// Where browsers find this service; `Origin` and `Host` must be this.
    pub public_url: Issuer,
    /// Where the wallet sends the person's browser back to after a linked sign-in: an address of ours,
    /// registered with the gateway byte for byte.
    pub return_url: String,
    /// How people may sign in here.
    pub bindings: Bindings,
    /// How they are asked for a step-up; `Any` is the way in which the person signed in. All but `Linked` must be
    /// registered with the gateway (`--step-up any`).
    pub step_up: Bindings,
    /// `sqlite://<file>` or `postgres://…`.
    pub database_url: String,
    /// Made at the first start; instances that share a database share it.
    pub key_file: PathBuf,
    /// What the person reads in the wallet: "Sign in to …".
    pub name: String,
    /// What this service wants to be allowed.
    pub scopes: Vec<String>,
    /// What this service wants to know.
    pub claims: Vec<String>,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
    /// See [`DEFAULT_START_RATE`].
    pub start_rate: NonZeroU32,
    /// See [`DEFAULT_INTROSPECT_AFTER`].
    pub introspect_after: Lifetime,
    /// See [`DEFAULT_FAIL_CLOSED_AFTER`].
    pub fail_closed_after: Lifetime,
    /// Time and randomness.
    pub outside: Outside,
}

impl Config {
    /// A service with a SQLite database and its key under `./data/service`, asking for name and email.
    ///
    /// # Errors
    /// Says which of the four cannot be used.
    pub fn new(
        gateway_url: &str,
        client_id: &str,
        client_secret: &str,
        public_url: &str,
    ) -> Result<Self, ConfigError> {
        let gateway_url = Issuer::parse(gateway_url).map_err(|e| ConfigError::new("gateway URL", e))?;
        let public_url = Issuer::parse(public_url).map_err(|e| ConfigError::new("public URL", e))?;
        Ok(Self {
            issuer: gateway_url.clone(),
            gateway_url,
            client_id: ClientId::parse(client_id).map_err(|e| ConfigError::new("client id", e))?,
            client_secret: Secret::parse(client_secret.trim())
                .map_err(|_| ConfigError::new("client secret", "it does not look like miid_cs_…"))?,
            return_url: format!("{public_url}{}", paths::AUTH_RETURN),
            public_url,
            bindings: Bindings::default(),
            step_up: Bindings::Linked,
            database_url: "sqlite://data/service/service.db".to_owned(),
            key_file: PathBuf::from("data/service/service.key"),
            name: client_id.to_owned(),
            scopes: vec!["profile".to_owned(), "email".to_owned()],
            claims: vec!["name".to_owned(), "email".to_owned()],
            trusted_proxies: Vec::new(),
            start_rate: DEFAULT_START_RATE,
            introspect_after: DEFAULT_INTROSPECT_AFTER,
            fail_closed_after: DEFAULT_FAIL_CLOSED_AFTER,
            outside: Outside::real(),
        })
    }

    /// Checks what can be set after [`Config::new`].
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.name.is_empty() || !text::is_displayable(&self.binding_message(), text::MAX_BINDING_MESSAGE) {
            return Err(ConfigError::new(
                "name",
                "it must be a short line of text without control characters",
            ));
        }
        let names = |what, list: &[String], is_name: fn(&str) -> bool| {
            if list.len() > text::MAX_NAMES
                || text::has_duplicates(list)
                || !list.iter().all(|name| is_name(name))
            {
                return Err(ConfigError::new(what, "at most 20 different names of a-z 0-9 _"));
            }
            Ok(())
        };
        names("scopes", &self.scopes, text::is_scope)?;
        names("claims", &self.claims, text::is_claim_name)?;
        // Elsewhere the browser has no login cookie, and nobody could ever sign in by link; and on another path
        // no page takes the code out of the address bar.
        let path = self.return_url.strip_prefix(self.public_url.as_str()).unwrap_or_default();
        let is_ours = path.split('?').next() == Some(paths::AUTH_RETURN);
        if !is_ours || path.contains('#') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::new(
                "return URL",
                "it must be the public URL and /auth/return, with a query at most: visible ASCII, without a fragment",
            ));
        }
        if self.fail_closed_after < self.introspect_after {
            return Err(ConfigError::new("fail-closed-after", "it cannot be shorter than introspect-after"));
        }
        Ok(())
    }

    /// What an operator types so that the gateway lets linked sign-ins come back here.
    pub(crate) fn registration(&self) -> String {
        format!("miid-gateway service update {} --add-return-url {}", self.client_id, self.return_url)
    }

    /// This service's words in the wallet.
    pub(crate) fn binding_message(&self) -> String {
        format!("Sign in to {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let secret = format!("miid_cs_{}", "A".repeat(43));
        Config::new("http://127.0.0.1:14000", "demo-shop", &secret, "http://127.0.0.1:15000").expect("good")
    }

    #[test]
    fn what_cannot_work_is_refused_and_the_secret_is_not_repeated() {
        assert!(config().check().is_ok());
        let error = Config::new("http://127.0.0.1:1", "demo-shop", "hunter2", "http://127.0.0.1:2")
            .expect_err("no secret");
        assert!(!error.to_string().contains("hunter2"));
        assert!(Config::new("http://gw.example", "demo-shop", "x", "https://shop.example").is_err());
        assert!(Config { claims: vec!["Name".into()], ..config() }.check().is_err());
        assert!(Config { scopes: vec!["a".into(), "a".into()], ..config() }.check().is_err());
        assert!(Config { name: "a\u{202e}b".into(), ..config() }.check().is_err());
        assert!(Config { fail_closed_after: Lifetime::from_secs(1), ..config() }.check().is_err());
        assert!(!format!("{:?}", config()).contains("AAAA"));
    }

    #[test]
    fn browsers_come_back_to_our_own_address_and_to_no_other() {
        assert_eq!(config().return_url, "http://127.0.0.1:15000/auth/return");
        assert_eq!(
            config().registration(),
            "miid-gateway service update demo-shop --add-return-url http://127.0.0.1:15000/auth/return"
        );
        assert!(
            Config { return_url: "http://127.0.0.1:15000/auth/return?x=1".into(), ..config() }
                .check()
                .is_ok()
        );
        for other in [
            "",
            "/auth/return",
            "http://127.0.0.1:15000",
            "http://127.0.0.1:15000/back",
            "http://127.0.0.1:15000/back?/auth/return",
            "http://127.0.0.1:15000/auth/return/",
            "http://127.0.0.1:15000/auth/returned",
            "http://127.0.0.1:15000.evil.example/auth/return",
            "http://127.0.0.1:150001/auth/return",
            "https://127.0.0.1:15000/auth/return",
            "http://127.0.0.1:15000/auth/return#",
            "http://127.0.0.1:15000/auth/re turn",
        ] {
            assert!(Config { return_url: other.into(), ..config() }.check().is_err(), "{other}");
        }
    }

    #[test]
    fn a_way_of_signing_in_is_offered_or_not() {
        for (text, linked, addressed) in
            [("any", true, true), ("linked", true, false), ("addressed", false, true)]
        {
            let bindings: Bindings = text.parse().expect(text);
            assert_eq!(bindings.offers(Binding::Linked), linked);
            assert_eq!(bindings.offers(Binding::Addressed), addressed);
            assert_eq!(bindings.as_str(), text);
        }
        assert!("both".parse::<Bindings>().is_err());
    }
}
