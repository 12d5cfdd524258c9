//! Statements are made here and only here, with fresh names, by the gateway's clock.

use miid_protocol::service::DenyReason;
use miid_protocol::statement::{self, Disclosure};
use miid_protocol::wallet::Decision;
use miid_protocol::{ClientId, SessionId, paths};

use super::{ClientError, GatewayClient};
use crate::entropy;
use crate::policy::Granted;
use crate::request::Request;

/// A signed decision, ready to be sent as often as it takes: same bytes, each time under a fresh proof. It has
/// no `Debug`, since what is shared is in it.
#[derive(Clone)]
pub struct SignedDecision {
    pub(super) path: String,
    pub(super) body: Decision,
}

impl SignedDecision {
    /// What was signed.
    pub fn statement(&self) -> &str {
        &self.body.statement
    }
}

impl GatewayClient {
    /// Signs a yes to exactly the text of this request.
    pub fn sign_approval(&self, request: &Request, granted: &Granted) -> Result<SignedDecision, ClientError> {
        let disclosure = if granted.claims.is_empty() {
            None
        } else {
            Some(Disclosure::to_text(entropy::bytes(self.entropy())?, granted.claims.clone()))
        };
        let statement = self.sign(statement::Decision::Approve {
            request_text: request.text(),
            request: request.says(),
            match_code: granted.match_code.as_deref(),
            scopes: &granted.scopes,
            disclosure: disclosure.as_deref(),
        })?;
        let path = paths::approve(request.id());
        Ok(SignedDecision { path, body: Decision { statement, disclosure } })
    }

    /// Signs a no.
    pub fn sign_denial(&self, request: &Request, reason: DenyReason) -> Result<SignedDecision, ClientError> {
        let (request_text, says) = (request.text(), request.says());
        let statement = self.sign(statement::Decision::Deny { request_text, request: says, reason })?;
        Ok(SignedDecision::bare(paths::with_id(paths::WALLET_DENY, request.id()), statement))
    }

    /// Signs that an approval is taken back.
    pub fn sign_cancellation(&self, request: &Request) -> Result<SignedDecision, ClientError> {
        let (request_text, says) = (request.text(), request.says());
        let statement = self.sign(statement::Decision::Cancel { request_text, request: says })?;
        Ok(SignedDecision::bare(paths::with_id(paths::WALLET_CANCEL, request.id()), statement))
    }

    /// Signs that a session ends.
    pub fn sign_revocation(
        &self,
        service: &ClientId,
        session_id: SessionId,
    ) -> Result<SignedDecision, ClientError> {
        let statement = self.sign(statement::Decision::Revoke { client_id: service, session_id })?;
        Ok(SignedDecision::bare(paths::revoke(session_id), statement))
    }

    /// Signs that this identity ends at this gateway. It does not run out, so that it can be printed, and whoever
    /// has it can send it.
    pub fn sign_retirement(&self) -> Result<String, ClientError> {
        self.sign(statement::Decision::Retire)
    }

    fn sign(&self, decision: statement::Decision<'_>) -> Result<String, ClientError> {
        let jti = entropy::jti(self.entropy())?;
        Ok(self.inner.identity.state(decision, self.issuer(), &jti, self.now())?)
    }
}

impl SignedDecision {
    fn bare(path: String, statement: String) -> Self {
        Self { path, body: Decision { statement, disclosure: None } }
    }
}
