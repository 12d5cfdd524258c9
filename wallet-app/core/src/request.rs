//! A request to sign in, or to confirm something in a session that is there (a *step-up*), as the person sees it: parsed from the request *text* and from nothing else, since
//! the digest of exactly that text is what they sign (protocol, section 2).

use miid_protocol::request::SignInRequest;
use miid_protocol::service::Risk;
use miid_protocol::{ChallengeId, jws, text};

/// Longest text that is looked at: the gateway takes bodies of 64 KiB, and this travelled in one.
const MAX_TEXT: usize = 64 * 1024;
const MAX_SERVICE_NAME: usize = 140;
const MAX_IP: usize = 64;

/// Why a request is not shown. Each of these is the gateway's or the service's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unshowable {
    /// Not the JSON that it should be.
    #[error("its text cannot be read")]
    Text,
    /// The text names another challenge than the event that brought it.
    #[error("its text belongs to another request")]
    OtherChallenge,
    /// Control, format or bidi characters: made to look like something else (threat 25).
    #[error("it carries hidden characters or is too long")]
    Disguised,
    /// Names of scopes or claims that do not exist.
    #[error("it asks for something that has no proper name")]
    Names,
    /// A step-up that does not say what for or in which session, or asks for more than that; or a session named
    /// by what is none.
    #[error("it mixes signing in with confirming something")]
    StepUp,
    /// It was claimed by a link and has a number all the same.
    #[error("it is not one that a link may bring")]
    NotLinked,
}

/// A request that can be shown, with the text that it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    text: String,
    parsed: SignInRequest,
}

impl Request {
    /// Reads the text that came for a challenge.
    pub fn read(challenge_id: ChallengeId, text: &str) -> Result<Self, Unshowable> {
        if text.len() > MAX_TEXT {
            return Err(Unshowable::Text);
        }
        let parsed = SignInRequest::parse(text).map_err(|_| Unshowable::Text)?;
        if parsed.challenge_id != challenge_id {
            return Err(Unshowable::OtherChallenge);
        }
        let shown = |text: &str, max| text::is_displayable(text, max);
        let showable = shown(&parsed.service.name, MAX_SERVICE_NAME)
            && !parsed.service.name.trim().is_empty()
            && shown(&parsed.binding_message, text::MAX_BINDING_MESSAGE)
            && parsed.user_agent.as_deref().is_none_or(|agent| shown(agent, text::MAX_USER_AGENT))
            && parsed.ip.as_deref().is_none_or(|ip| shown(ip, MAX_IP))
            && (1..=128).contains(&parsed.nonce.len())
            && parsed.nonce.bytes().all(|b| b.is_ascii_graphic());
        if !showable {
            return Err(Unshowable::Disguised);
        }
        let proper = |names: &[String], is_name: fn(&str) -> bool| {
            names.len() <= text::MAX_NAMES
                && names.iter().all(|name| is_name(name))
                && !text::has_duplicates(names)
        };
        if !proper(&parsed.scopes, text::is_scope) || !proper(&parsed.claims, text::is_claim_name) {
            return Err(Unshowable::Names);
        }
        let is_whole = match parsed.risk {
            Risk::Normal => parsed.step_up_session.is_none(),
            Risk::StepUp => {
                parsed.step_up_session.is_some()
                    && parsed.claims.is_empty()
                    && !parsed.binding_message.trim().is_empty()
            }
        };
        if is_whole { Ok(Self { text: text.to_owned(), parsed }) } else { Err(Unshowable::StepUp) }
    }

    /// Which challenge it is.
    pub fn id(&self) -> ChallengeId {
        self.parsed.challenge_id
    }

    /// What it says.
    pub fn says(&self) -> &SignInRequest {
        &self.parsed
    }

    /// What a step-up is for, in the service's words; `None` for a sign-in.
    pub fn step_up(&self) -> Option<&str> {
        (self.parsed.risk == Risk::StepUp).then_some(self.parsed.binding_message.as_str())
    }

    /// Exactly what is signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text's SHA-256, as a statement names it: which text a window showed.
    pub fn digest(&self) -> String {
        jws::digest(self.text.as_bytes())
    }
}

/// Text of somebody else on a terminal, where nobody checked it before: what could disguise it becomes `�`.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if text::is_displayable(c.encode_utf8(&mut [0; 4]), 1) { c } else { '\u{fffd}' })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use miid_protocol::request::ServiceName;
    use miid_protocol::service::Binding;
    use miid_protocol::{ClientId, Lifetime, SessionId, Timestamp};

    use super::*;

    pub(crate) const T: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    pub(crate) fn id(n: u32) -> ChallengeId {
        ChallengeId::parse(&format!("0198e0a0-0000-7000-8000-{n:012}")).expect("id")
    }

    /// A request made `n` seconds after [`T`], valid for five minutes.
    pub(crate) fn sample(n: u32) -> SignInRequest {
        let created_at = T.plus(Lifetime::from_secs(n.into()));
        SignInRequest {
            challenge_id: id(n),
            nonce: "bm9uY2U".into(),
            service: ServiceName { id: ClientId::parse("demo-shop").expect("id"), name: "Demo Shop".into() },
            binding: Binding::Addressed,
            binding_message: "Sign in to Demo Shop".into(),
            scopes: vec!["profile".into(), "email".into()],
            claims: vec!["name".into(), "email".into(), "age".into()],
            risk: Risk::Normal,
            step_up_session: None,
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into()),
            ip: Some("192.0.2.7".into()),
            code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".into(),
            created_at,
            expires_at: created_at.plus(Lifetime::from_secs(300)),
        }
    }

    /// The session that [`step_up`] is about.
    pub(crate) fn session() -> SessionId {
        SessionId::parse("0198e0a0-0000-7000-8000-00000000beef").expect("id")
    }

    /// Request `n`, as one to confirm something.
    pub(crate) fn step_up(n: u32) -> SignInRequest {
        SignInRequest {
            binding: Binding::Linked,
            binding_message: "Transfer 250 to Bob".into(),
            claims: Vec::new(),
            risk: Risk::StepUp,
            step_up_session: Some(session()),
            ..sample(n)
        }
    }

    pub(crate) fn request(n: u32) -> Request {
        Request::read(id(n), &sample(n).to_text()).expect("showable")
    }

    fn read(change: impl FnOnce(&mut SignInRequest)) -> Result<Request, Unshowable> {
        let mut says = sample(1);
        change(&mut says);
        Request::read(id(1), &says.to_text())
    }

    #[test]
    fn only_a_text_about_this_challenge_is_shown() {
        assert!(read(|_| ()).is_ok());
        assert_eq!(read(|says| says.challenge_id = id(2)), Err(Unshowable::OtherChallenge));
        assert_eq!(Request::read(id(1), "{}"), Err(Unshowable::Text));
        let twice = sample(1).to_text().replacen('{', r#"{"nonce":"x","#, 1);
        assert_eq!(Request::read(id(1), &twice), Err(Unshowable::Text));
    }

    #[test]
    fn a_step_up_says_what_for_and_in_which_session_and_asks_for_nothing_else() {
        let read = |change: fn(&mut SignInRequest)| {
            let mut says = step_up(1);
            change(&mut says);
            Request::read(id(1), &says.to_text())
        };
        assert_eq!(read(|_| ()).expect("showable").step_up(), Some("Transfer 250 to Bob"));
        assert_eq!(request(1).step_up(), None);
        let cases: [fn(&mut SignInRequest); 5] = [
            |says| says.step_up_session = None,
            |says| says.binding_message = "  ".into(),
            |says| says.binding_message.clear(),
            |says| says.claims = vec!["name".into()],
            // A sign-in that claims to belong to a session.
            |says| says.risk = Risk::Normal,
        ];
        for change in cases {
            assert_eq!(read(change), Err(Unshowable::StepUp));
        }
    }

    #[test]
    fn what_could_disguise_itself_on_a_screen_is_not_shown() {
        for bad in ["Demo\u{1b}[2JShop", "Demo\nShop", "\u{202e}pohS", "   ", ""] {
            assert_eq!(read(|says| says.service.name = bad.into()), Err(Unshowable::Disguised), "{bad:?}");
        }
        assert_eq!(read(|says| says.binding_message = "a\rb".into()), Err(Unshowable::Disguised));
        assert_eq!(read(|says| says.user_agent = Some("\u{7}".into())), Err(Unshowable::Disguised));
        assert_eq!(read(|says| says.ip = Some("1".repeat(65))), Err(Unshowable::Disguised));
        assert_eq!(read(|says| says.nonce = "a b".into()), Err(Unshowable::Disguised));
        assert_eq!(read(|says| says.claims = vec!["Name".into()]), Err(Unshowable::Names));
        assert_eq!(read(|says| says.scopes = vec!["a".into(), "a".into()]), Err(Unshowable::Names));
        assert!(read(|says| says.service.name = "데모 가게 <b>".into()).is_ok());
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
