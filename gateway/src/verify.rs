//! The glue between what was received and what was signed. Signatures are checked by the protocol
//! crate, whose proofs and decisions nobody else can make; here they meet this gateway's name, its
//! clock and the challenge at hand.

use miid_protocol::proof::{self, Proof, ProofError};
use miid_protocol::request::SignInRequest;
use miid_protocol::statement::{
    AboutChallenge, Approval, Cancellation, Context, Denial, Offer, Retirement, Revocation, Signed,
    StatementError,
};
use miid_protocol::{Did, Issuer, Timestamp};

use crate::domain::{Challenge, Session};

/// A proof that holds for its request. Whether it was seen before is the store's to say, and only
/// after it said so is anything done for [`HeldProof::did`].
#[derive(Debug, Clone)]
pub struct HeldProof(Proof);

impl HeldProof {
    /// Checks everything but whether it was seen before.
    pub fn check(
        token: &str,
        request: proof::Request<'_>,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<Self, ProofError> {
        proof::verify(token, request, issuer, now.seconds()).map(Self)
    }

    /// Who proved.
    pub fn did(&self) -> &Did {
        &self.0.did
    }

    /// Its name.
    pub fn jti(&self) -> &str {
        &self.0.jti
    }

    /// From when on it could not be accepted again anyway.
    pub fn forget_at(&self) -> Timestamp {
        Timestamp::from_millis(self.0.iat.saturating_add(proof::REMEMBER_S).saturating_mul(1000))
    }
}

/// Where a statement is received: this gateway, now, under this proof.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// This gateway.
    pub issuer: &'a Issuer,
    /// Its clock.
    pub now: Timestamp,
    /// Whose proof came with it.
    pub did: &'a Did,
}

impl<'a> Received<'a> {
    fn context(&self, client_id: &'a str) -> Context<'a> {
        Context { now_s: self.now.seconds(), gateway: self.issuer, client_id, did: self.did }
    }

    /// An approval of this challenge.
    pub fn approval(
        &self,
        signed: &Signed,
        challenge: &Challenge,
        request: &SignInRequest,
        disclosure: Option<&str>,
    ) -> Result<Approval, StatementError> {
        let id = challenge.id.to_string();
        let offer = Offer {
            binding: challenge.binding,
            scopes: &request.scopes,
            claims: &request.claims,
            disclosure,
        };
        signed.approval(self.context(challenge.client_id.as_str()), about(challenge, &id), offer)
    }

    /// A denial of this challenge.
    pub fn denial(&self, signed: &Signed, challenge: &Challenge) -> Result<Denial, StatementError> {
        let id = challenge.id.to_string();
        signed.denial(self.context(challenge.client_id.as_str()), about(challenge, &id))
    }

    /// A cancellation of this challenge's approval.
    pub fn cancellation(
        &self,
        signed: &Signed,
        challenge: &Challenge,
    ) -> Result<Cancellation, StatementError> {
        let id = challenge.id.to_string();
        signed.cancellation(self.context(challenge.client_id.as_str()), about(challenge, &id))
    }

    /// A revocation of this session.
    pub fn revocation(&self, signed: &Signed, session: &Session) -> Result<Revocation, StatementError> {
        signed.revocation(self.context(session.client_id.as_str()), &session.id.to_string())
    }

    /// The end of the identity.
    pub fn retirement(&self, signed: &Signed) -> Result<Retirement, StatementError> {
        signed.retirement(self.context(self.issuer.as_str()))
    }
}

fn about<'a>(challenge: &'a Challenge, id: &'a str) -> AboutChallenge<'a> {
    AboutChallenge { id, nonce: &challenge.nonce, request: &challenge.request }
}
