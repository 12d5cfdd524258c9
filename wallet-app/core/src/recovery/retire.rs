//! A statement that ends an identity, made in advance: it is good for as long as the paper lasts, and needs no
//! key to be sent (protocol, sections 2 and 5).

use miid_protocol::statement::{self, Context, Decision, Signed};
use miid_protocol::{Did, Issuer, Timestamp, jws};
use serde::Serialize;
use serde_json::{Map, Value};

use super::RecoveryWords;
use crate::clock::{Clock as _, SystemClock};
use crate::entropy::{self, Entropy, EntropyError, SystemEntropy};
use crate::identity::{Identity, Locked};

/// Longest text in which statements are looked for.
const MAX_TEXT: usize = 64 * 1024;

/// The text is no signed retirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is not a signed statement that ends an identity")]
pub struct NoRetirement;

/// One gateway's copy. Whoever has it can end the identity there, and do nothing else with it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct RetireStatement {
    /// Whose identity it ends.
    #[serde(skip)]
    pub did: Did,
    /// Where.
    pub gateway: Issuer,
    /// What is sent.
    pub statement: String,
}

impl RetireStatement {
    /// Reads one and checks its signature, so that a misread letter is found here and not at the gateway.
    pub fn parse(text: &str) -> Result<Self, NoRetirement> {
        let token = text.trim();
        let verified = jws::verify(token, statement::TYP).map_err(|_| NoRetirement)?;
        let payload: Map<String, Value> = verified.json().map_err(|_| NoRetirement)?;
        let gateway = payload.get("gateway").and_then(Value::as_str).ok_or(NoRetirement)?;
        let gateway = Issuer::parse(gateway).map_err(|_| NoRetirement)?;
        let signed = Signed::open(token).map_err(|_| NoRetirement)?;
        let did = signed.did().clone();
        // Judged at its own time: whether it counts by now is the gateway's to say.
        let now_s = payload.get("iat").and_then(Value::as_i64).ok_or(NoRetirement)?;
        let context = Context { now_s, gateway: &gateway, client_id: gateway.as_str(), did: &did };
        signed.retirement(context).map_err(|_| NoRetirement)?;
        Ok(Self { did, gateway, statement: token.to_owned() })
    }

    /// Made now, by a key that is there.
    pub(crate) fn sign(
        identity: &Identity,
        gateway: &Issuer,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<Self, CannotSign> {
        let jti = entropy::jti(entropy)?;
        let statement = identity.state(Decision::Retire, gateway, &jti, now)?;
        Ok(Self { did: identity.did().clone(), gateway: gateway.clone(), statement })
    }

    /// Every one in a text: a bare statement, or a whole sheet as it was saved.
    pub fn find(text: &str) -> Vec<Self> {
        let text = text.get(..MAX_TEXT.min(text.len())).unwrap_or_default();
        let mut found: Vec<Self> = Vec::new();
        for token in text.split_whitespace().filter(|word| word.split('.').count() == 3) {
            if let Ok(statement) = Self::parse(token)
                && !found.contains(&statement)
            {
                found.push(statement);
            }
        }
        found
    }
}

/// Why none could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotSign {
    /// The key was wiped.
    #[error(transparent)]
    Locked(#[from] Locked),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl RecoveryWords {
    /// Ends the identity of these words at a gateway, once it is sent. The key is wiped before this returns.
    pub fn retirement(&self, gateway: &Issuer) -> Result<RetireStatement, CannotSign> {
        let identity = Identity::from_seed(&self.seed());
        RetireStatement::sign(&identity, gateway, &SystemEntropy, SystemClock.now())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use ed25519_dalek::SigningKey;
    use miid_protocol::SessionId;
    use miid_protocol::statement::Decision;

    use super::*;
    use crate::vault::tests::gateway;

    pub(in crate::recovery) fn signed(decision: Decision<'_>) -> String {
        statement::sign(&SigningKey::from_bytes(&[7; 32]), decision, &gateway(), "on-paper", 1_800_000_000)
    }

    #[test]
    fn a_retirement_is_read_and_nothing_else_is_taken_for_one() {
        let good = signed(Decision::Retire);
        let read = RetireStatement::parse(&format!("  {good}\n")).expect("reads");
        assert_eq!((&read.gateway, &read.statement), (&gateway(), &good));
        assert_eq!(read.did, Did::of(&SigningKey::from_bytes(&[7; 32]).verifying_key()));
        let client_id = miid_protocol::ClientId::parse("demo-shop").expect("id");
        let session_id = SessionId::parse("0198e0a0-0000-7000-8000-00000000beef").expect("id");
        let revocation = signed(Decision::Revoke { client_id: &client_id, session_id });
        let mut torn = good.clone();
        torn.replace_range(good.len() - 5..good.len() - 4, if good.ends_with('A') { "B" } else { "A" });
        torn.pop();
        for bad in ["", "a.b.c", &revocation, &torn, &good[1..]] {
            assert_eq!(RetireStatement::parse(bad).err(), Some(NoRetirement), "{bad}");
        }
    }

    #[test]
    fn statements_are_found_in_a_whole_sheet_each_once() {
        let good = signed(Decision::Retire);
        let sheet = format!("Words: 1. abandon\n\nAt https://id.example.com:\n{good}\n\n{good}\nwww.a.b end");
        assert_eq!(RetireStatement::find(&sheet).len(), 1);
        assert_eq!(RetireStatement::find("nothing here").len(), 0);
    }
}
