//! The statement: a person's decision, signed (section 2). It is kept for ever, and anyone can
//! check from it who decided what without trusting the gateway.
//!
//! [`verify`], or [`Signed`] in two steps, checks signature and fields. Whether the challenge is still open is the domain's to
//! say, and the number on the page is looked at last of all, so it comes back as a [`MatchCode`]
//! to be asked for only then (threats 33).

mod sign;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::did::Did;
use crate::ids::Issuer;
use crate::jws;
use crate::proof::is_jti;
use crate::service::{Binding, DenyReason};
use crate::text;
use crate::{json, request};

pub use sign::{Decision, sign};

/// `typ` of the JWS.
pub const TYP: &str = "miid-statement+jwt";
/// How far in the future `iat` may be, in seconds.
pub const MAX_SKEW_S: i64 = 60;
/// How long a statement may be valid, in seconds.
pub const MAX_LIFE_S: i64 = 300;
/// Longest disclosure text in bytes: twenty claims of 1,024 characters fit into a body of 64 KiB
/// only where they are short, so the body's bound is the real one.
pub const MAX_DISCLOSURE: usize = 60 * 1024;

/// Why a statement was refused, in the order in which it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Statement and proof are of different DIDs (`did_mismatch`).
    #[error("the statement was signed by another identity than the request")]
    DidMismatch,
    /// Signature or a field (`invalid_statement`); the text says which.
    #[error("{0}")]
    Invalid(&'static str),
}

/// The challenge that a statement must be about.
#[derive(Debug, Clone, Copy)]
pub struct AboutChallenge<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its nonce.
    pub nonce: &'a str,
    /// Its request text.
    pub request: &'a str,
}

/// What was offered to the person who approves.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// Whether a number is expected.
    pub binding: Binding,
    /// Scopes asked for.
    pub scopes: &'a [String],
    /// Claims asked for.
    pub claims: &'a [String],
    /// The disclosure text that came beside the statement.
    pub disclosure: Option<&'a str>,
}

/// Which decision is expected here, and about what.
#[derive(Debug, Clone, Copy)]
pub enum Expect<'a> {
    /// `…/approve`
    Approve(AboutChallenge<'a>, Offer<'a>),
    /// `…/deny`
    Deny(AboutChallenge<'a>),
    /// `…/cancel`
    Cancel(AboutChallenge<'a>),
    /// `…/sessions/{id}/revoke`
    Revoke(&'a str),
    /// `/v1/wallet/retire`; the context's `client_id` is the issuer.
    Retire,
}

/// Where and when a statement is received.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The gateway's clock, NumericDate.
    pub now_s: i64,
    /// This gateway.
    pub gateway: &'a Issuer,
    /// The service of the challenge or session.
    pub client_id: &'a str,
    /// The DID of the proof that came with it.
    pub did: &'a Did,
}

/// The number that the person typed, to be compared last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchCode(Option<String>);

impl MatchCode {
    /// Whether it is the number on the page; a missing one is not. Compared in constant time.
    pub fn is(&self, expected: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.as_deref().is_some_and(|typed| typed.as_bytes().ct_eq(expected.as_bytes()).into())
    }
}

/// What every decision carries, once its signature and fields hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    jti: String,
    statement: String,
}

impl Made {
    /// Unique per DID, for ever.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// The JWS, for the audit log.
    pub fn statement(&self) -> &str {
        &self.statement
    }
}

/// Yes. Nobody but this module makes one, so whoever holds one has seen the signature hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Name and text.
    pub made: Made,
    scopes: Vec<String>,
    claims: BTreeMap<String, String>,
    match_code: MatchCode,
}

impl Approval {
    /// Granted: a subset of what was asked.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Shared: names and values.
    pub fn claims(&self) -> &BTreeMap<String, String> {
        &self.claims
    }

    /// To be compared last; addressed challenges only.
    pub fn match_code(&self) -> &MatchCode {
        &self.match_code
    }
}

/// No, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Name and text.
    pub made: Made,
    reason: DenyReason,
}

impl Denial {
    /// `declined` or `not_me`.
    pub fn reason(&self) -> DenyReason {
        self.reason
    }
}

/// The approval is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    made: Made,
}

impl Cancellation {
    /// Name and text.
    pub fn into_made(self) -> Made {
        self.made
    }
}

/// The session is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    made: Made,
}

impl Revocation {
    /// Name and text.
    pub fn into_made(self) -> Made {
        self.made
    }
}

/// The identity is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retirement {
    made: Made,
}

impl Retirement {
    /// Name and text.
    pub fn into_made(self) -> Made {
        self.made
    }
}

/// What was decided, of the kind that was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// Yes.
    Approve(Approval),
    /// No.
    Deny(Denial),
    /// Taken back.
    Cancel(Cancellation),
    /// Over.
    Revoke(Revocation),
    /// The identity is over.
    Retire(Retirement),
}

/// Checks DID, signature and every field but the number's value (section 2).
pub fn verify(token: &str, context: Context<'_>, expect: Expect<'_>) -> Result<Decided, StatementError> {
    let signed = Signed::open(token)?;
    Ok(match expect {
        Expect::Approve(about, offer) => Decided::Approve(signed.approval(context, about, offer)?),
        Expect::Deny(about) => Decided::Deny(signed.denial(context, about)?),
        Expect::Cancel(about) => Decided::Cancel(signed.cancellation(context, about)?),
        Expect::Revoke(session_id) => Decided::Revoke(signed.revocation(context, session_id)?),
        Expect::Retire => Decided::Retire(signed.retirement(context)?),
    })
}

/// A statement whose signature holds, before anyone asked what it says. The costly half of
/// [`verify`], so that it can be done before a transaction begins.
#[derive(Debug)]
pub struct Signed {
    did: Did,
    payload: Map<String, Value>,
    token: String,
}

impl Signed {
    /// Checks shape, header and signature.
    pub fn open(token: &str) -> Result<Self, StatementError> {
        let signed =
            jws::verify(token, TYP).map_err(|_| StatementError::Invalid("the signature does not hold"))?;
        let payload =
            signed.json().map_err(|_| StatementError::Invalid("the payload is not a JSON object"))?;
        Ok(Self { did: signed.did, payload, token: token.to_owned() })
    }

    /// Whose key signed.
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// The name that it claims, to look up whether it was used before.
    pub fn claimed_jti(&self) -> Option<&str> {
        self.payload.get("jti").and_then(Value::as_str)
    }

    /// An approval of this challenge, as it was offered.
    pub fn approval(
        &self,
        context: Context<'_>,
        about: AboutChallenge<'_>,
        offer: Offer<'_>,
    ) -> Result<Approval, StatementError> {
        let made = self.made(context)?;
        let fields = Fields(&self.payload);
        fields.decision(
            "approve",
            &["challenge_id", "nonce", "request", "match_code", "scopes", "disclosure"],
        )?;
        fields.about(about)?;
        Ok(Approval {
            made,
            scopes: fields.scopes(offer.scopes)?,
            claims: fields.disclosure(offer.disclosure, offer.claims)?,
            match_code: fields.match_code(offer.binding)?,
        })
    }

    /// A denial of this challenge.
    pub fn denial(&self, context: Context<'_>, about: AboutChallenge<'_>) -> Result<Denial, StatementError> {
        let made = self.made(context)?;
        let fields = Fields(&self.payload);
        fields.decision("deny", &["challenge_id", "nonce", "request", "reason"])?;
        fields.about(about)?;
        let reason = match fields.text("reason")? {
            "declined" => DenyReason::Declined,
            "not_me" => DenyReason::NotMe,
            _ => return Err(StatementError::Invalid("reason must be declined or not_me")),
        };
        Ok(Denial { made, reason })
    }

    /// A cancellation of this challenge's approval.
    pub fn cancellation(
        &self,
        context: Context<'_>,
        about: AboutChallenge<'_>,
    ) -> Result<Cancellation, StatementError> {
        let made = self.made(context)?;
        let fields = Fields(&self.payload);
        fields.decision("cancel", &["challenge_id", "nonce", "request"])?;
        fields.about(about)?;
        Ok(Cancellation { made })
    }

    /// A revocation of this session.
    pub fn revocation(&self, context: Context<'_>, session_id: &str) -> Result<Revocation, StatementError> {
        let made = self.made(context)?;
        let fields = Fields(&self.payload);
        fields.decision("revoke", &["session_id"])?;
        if fields.text("session_id")? != session_id {
            return Err(StatementError::Invalid("session_id must be the session"));
        }
        Ok(Revocation { made })
    }

    /// A retirement of the signer. It may have been made long ago, so `exp` is optional; `aud` is the issuer.
    pub fn retirement(&self, context: Context<'_>) -> Result<Retirement, StatementError> {
        let context = Context { client_id: context.gateway.as_str(), ..context };
        let fields = Fields(&self.payload);
        let made = self.says_who(context)?;
        let iat_s = fields.integer("iat")?;
        if self.payload.contains_key("exp") {
            check_times(iat_s, fields.integer("exp")?, context.now_s)?;
        } else {
            check_begun(iat_s, context.now_s)?;
        }
        fields.decision("retire", &[])?;
        Ok(Retirement { made })
    }

    /// What every decision must say, whatever it decides.
    fn made(&self, context: Context<'_>) -> Result<Made, StatementError> {
        let made = self.says_who(context)?;
        let fields = Fields(&self.payload);
        check_times(fields.integer("iat")?, fields.integer("exp")?, context.now_s)?;
        Ok(made)
    }

    /// Who decided, where, about whose business, and under which name.
    fn says_who(&self, context: Context<'_>) -> Result<Made, StatementError> {
        use StatementError::Invalid;
        // A statement signed well by somebody else is told apart from one that is not signed well.
        if self.did != *context.did {
            return Err(StatementError::DidMismatch);
        }
        let fields = Fields(&self.payload);
        let did = context.did.as_str();
        if fields.text("iss")? != did || fields.text("sub")? != did {
            return Err(Invalid("iss and sub must be the signer"));
        }
        if fields.text("aud")? != context.client_id {
            return Err(Invalid("aud must be the service"));
        }
        if fields.text("gateway")? != context.gateway.as_str() {
            return Err(Invalid("gateway must be this one"));
        }
        let jti = fields.text("jti")?;
        if !is_jti(jti) {
            return Err(Invalid("jti must be 1 to 128 visible ASCII characters"));
        }
        Ok(Made { jti: jti.to_owned(), statement: self.token.clone() })
    }
}

/// `iat ≤ now + 60`, `iat < exp ≤ iat + 300`, `now < exp`. Saturating: these are any i64.
fn check_times(iat: i64, exp: i64, now_s: i64) -> Result<(), StatementError> {
    check_begun(iat, now_s)?;
    if exp <= iat || exp > iat.saturating_add(MAX_LIFE_S) {
        return Err(StatementError::Invalid("exp must be after iat and at most 300 s later"));
    }
    if now_s >= exp {
        return Err(StatementError::Invalid("the statement has expired"));
    }
    Ok(())
}

fn check_begun(iat: i64, now_s: i64) -> Result<(), StatementError> {
    if iat > now_s.saturating_add(MAX_SKEW_S) {
        return Err(StatementError::Invalid("iat is in the future"));
    }
    Ok(())
}

/// Members that belong to one decision or another; one that does not belong to this decision is
/// refused, while members that no version knows are ignored.
const DECISION_MEMBERS: &[&str] =
    &["challenge_id", "nonce", "request", "match_code", "scopes", "disclosure", "session_id", "reason"];

/// The payload, asked for one member at a time.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn text(&self, name: &'static str) -> Result<&'a str, StatementError> {
        self.0.get(name).and_then(Value::as_str).ok_or(StatementError::Invalid("a text member is missing"))
    }

    fn integer(&self, name: &'static str) -> Result<i64, StatementError> {
        self.0
            .get(name)
            .and_then(Value::as_i64)
            .ok_or(StatementError::Invalid("iat and exp must be integers"))
    }

    fn decision(&self, decision: &str, members: &[&str]) -> Result<(), StatementError> {
        if self.text("decision")? != decision {
            return Err(StatementError::Invalid("another decision is expected here"));
        }
        let strange =
            DECISION_MEMBERS.iter().any(|name| !members.contains(name) && self.0.contains_key(*name));
        if strange {
            return Err(StatementError::Invalid("a member does not belong to this decision"));
        }
        Ok(())
    }

    fn about(&self, about: AboutChallenge<'_>) -> Result<(), StatementError> {
        let same = self.text("challenge_id")? == about.id
            && self.text("nonce")? == about.nonce
            && self.text("request")? == request::digest(about.request);
        if same { Ok(()) } else { Err(StatementError::Invalid("it is about another request")) }
    }

    fn scopes(&self, asked: &[String]) -> Result<Vec<String>, StatementError> {
        const WRONG: StatementError =
            StatementError::Invalid("scopes must be some of those asked for, each once");
        let list = self.0.get("scopes").and_then(Value::as_array).ok_or(WRONG)?;
        let mut scopes = Vec::with_capacity(list.len().min(text::MAX_NAMES));
        for scope in list {
            let scope = scope.as_str().ok_or(WRONG)?.to_owned();
            if !asked.contains(&scope) || scopes.contains(&scope) {
                return Err(WRONG);
            }
            scopes.push(scope);
        }
        Ok(scopes)
    }

    fn disclosure(
        &self,
        sent: Option<&str>,
        asked: &[String],
    ) -> Result<BTreeMap<String, String>, StatementError> {
        let signed = match self.0.get("disclosure") {
            None => None,
            Some(Value::String(digest)) => Some(digest.as_str()),
            Some(_) => return Err(StatementError::Invalid("disclosure must be a digest")),
        };
        match (signed, sent) {
            (None, None) => Ok(BTreeMap::new()),
            (Some(digest), Some(text)) if digest == jws::digest(text.as_bytes()) => {
                Disclosure::parse(text, asked)
                    .ok_or(StatementError::Invalid("the disclosure is not acceptable"))
            }
            _ => Err(StatementError::Invalid("the disclosure is not the one that was signed")),
        }
    }

    fn match_code(&self, binding: Binding) -> Result<MatchCode, StatementError> {
        match (binding, self.0.get("match_code")) {
            (_, None) => Ok(MatchCode(None)),
            (Binding::Addressed, Some(Value::String(typed)))
                if typed.len() == 2 && typed.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Ok(MatchCode(Some(typed.clone())))
            }
            (Binding::Addressed, Some(_)) => {
                Err(StatementError::Invalid("match_code must be a text of two digits"))
            }
            (Binding::Linked, Some(_)) => Err(StatementError::Invalid("no number was asked for")),
        }
    }
}

/// What is shared, beside the statement so that it can be erased: only its digest is signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disclosure {
    /// At least 128 random bits, so that the digest does not give the values away.
    pub salt: String,
    /// Names and values.
    pub claims: BTreeMap<String, String>,
}

impl Disclosure {
    /// Parses the text; `None` where it is not acceptable for what was asked.
    fn parse(text: &str, asked: &[String]) -> Option<BTreeMap<String, String>> {
        if text.len() > MAX_DISCLOSURE {
            return None;
        }
        let disclosure: Self = json::from_str(text).ok()?;
        let salt_ok = jws::decode(&disclosure.salt).is_some_and(|salt| (16..=64).contains(&salt.len()));
        let claims_ok = disclosure
            .claims
            .iter()
            .all(|(name, value)| asked.contains(name) && value.chars().count() <= text::MAX_CLAIM_VALUE);
        (salt_ok && claims_ok).then_some(disclosure.claims)
    }

    /// The text to send; `salt` is 16 fresh random bytes.
    pub fn to_text(salt: [u8; 16], claims: BTreeMap<String, String>) -> String {
        let disclosure = Self { salt: jws::encode(&salt), claims };
        match serde_json::to_string(&disclosure) {
            Ok(text) => text,
            Err(_) => unreachable!("a plain struct serialises"),
        }
    }
}
