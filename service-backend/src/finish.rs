//! From an approval to a session: the exchange of the code (section 4, threat 5).
//!
//! 1. The caller has moved the login from waiting to exchanging by compare-and-set, so nobody else
//!    exchanges this code. The code stands sealed in the row; so does, for a linked login, the response code
//!    that its browser came back with. A wrong one puts the login back to waiting, and nothing else happens.
//! 2. The exchange is sent. No connection: the request never left, so it is sent again for as long as
//!    the code lives. No answer: it may have been done, so it is sent once more. If it had been done
//!    the first time, the gateway takes the second for a reuse, revokes what the first gave (tokens
//!    that nobody received) and says `invalid_grant`: the browser starts again, and nothing is left
//!    over. After two attempts without an answer the challenge itself is asked before each further
//!    one, since *approved* there proves that the code is unused. A step-up is not sent again at all: what the
//!    first use gave belongs to a session that is there already, and would end with it.
//! 3. Tokens go, sealed, into a session row in the same transaction that moves the login to active.
//! 4. A process that dies in between leaves a row in exchanging whose lease runs out. Another instance
//!    (or the next start) takes it over once and sends the code again: as in step 2, an exchange that
//!    had been done is undone. An orphan of the second owner is given up, and a step-up's at once.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miid_protocol::problem::ErrorCode;
use miid_protocol::service::{Binding, ChallengeStatus, ExpireReason, TokenRequest, TokenResponse};
use miid_protocol::{ChallengeId, Issuer, Lifetime, SessionId, Timestamp};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::gateway::GatewayError;
use crate::logins::{Exchange, Login, LoginState};
use crate::sessions::NewSession;
use crate::sign_in::Core;
use crate::store::{Approval, StoreError};
use crate::{events, step_up};

/// How long an instance that exchanges may be silent before others believe it dead.
pub(crate) const LEASE: Lifetime = Lifetime::from_secs(15);
/// A row is taken over this often; then it is given up.
const ADOPTIONS: i64 = 1;
/// A code may still be on its way through the gateway when it runs out.
const CODE_MARGIN: Lifetime = Lifetime::from_secs(5);
/// What nothing outlives by default (section 3), for a gateway that does not say.
const SESSION_TTL: Lifetime = Lifetime::from_secs(30 * 86_400);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How an exchange went.
enum Outcome {
    Tokens(Box<TokenResponse>),
    /// The approval was taken back.
    Released,
    /// What the browser came back with is not what the exchange needs; the approval stands.
    WrongResponse,
    /// Nothing can come of it.
    Over(LoginState),
    /// The service closes, or somebody took over: the row says what is left to do.
    Left,
}

/// The right to exchange for one login, as it stands in its row. Each claim has a name of its own: a
/// task that was believed dead finds its name gone, even where its own instance took over.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) id: ChallengeId,
    pub(crate) owner: String,
}

impl Claim {
    /// A claim to be made.
    pub(crate) fn new(core: &Core, id: ChallengeId) -> Self {
        Self { id, owner: format!("{}.{:016x}", core.instance, u64::from_le_bytes(core.outside.random())) }
    }
}

/// What is exchanged for tokens.
pub(crate) struct Grant {
    pub(crate) code: Zeroizing<String>,
    /// What the browser came back with (linked).
    pub(crate) response: Option<Zeroizing<String>>,
}

/// Exchanges in the background; the claim stands in the row.
pub(crate) fn begin(core: &Arc<Core>, claim: Claim, grant: Grant, code_expires_at: Timestamp) {
    let task = Arc::clone(core);
    core.tasks.spawn(async move {
        let id = claim.id;
        let Ok(_permit) = task.exchanges.acquire().await else { return };
        tokio::select! {
            finished = finish(&task, &claim, grant, code_expires_at) => {
                if let Err(error) = finished {
                    tracing::error!(challenge_id = %id, error = &error as &dyn std::error::Error, "an exchange is left for later");
                }
            }
            () = keep_lease(&task, &claim) => tracing::warn!(challenge_id = %id, "an exchange was taken over"),
        }
        task.login_wakes.wake(id);
    });
}

/// Takes over what a dead instance left, once; then gives it up.
pub(crate) async fn adopt(core: &Arc<Core>, login: &Login) -> Result<(), StoreError> {
    let (id, LoginState::Exchanging(orphan)) = (login.challenge_id, &login.state) else { return Ok(()) };
    let claim = Claim::new(core, id);
    if !core.store.adopt_exchange(&claim, orphan, core.now().plus(LEASE)).await? {
        return Ok(()); // another instance was quicker
    }
    tracing::warn!(challenge_id = %id, "taking over an exchange that was left");
    match opened_grant(core, login, orphan) {
        Some(grant) if orphan.tries <= ADOPTIONS && login.step_up.is_none() => {
            begin(core, claim, grant, orphan.code_expires_at)
        }
        _ => give_up(core, &claim, &LoginState::Expired(ExpireReason::Withdrawn)).await?,
    }
    Ok(())
}

fn opened_grant(core: &Core, login: &Login, exchange: &Exchange) -> Option<Grant> {
    let row = login.challenge_id.to_string();
    let response = match (login.binding, &exchange.response_sealed) {
        (Binding::Addressed, _) => None,
        (Binding::Linked, sealed) => Some(core.keys.open_sealed("response", &row, sealed.as_ref()?)?),
    };
    Some(Grant { code: core.keys.open_sealed("code", &row, &exchange.code_sealed)?, response })
}

/// Returns when somebody else has the row.
async fn keep_lease(core: &Core, claim: &Claim) {
    loop {
        tokio::time::sleep(LEASE.duration() / 3).await;
        if let Ok(false) = core.store.renew_exchange(claim, core.now().plus(LEASE)).await
            && let Ok(Some(Login { state: LoginState::Exchanging(other), .. })) =
                core.store.login(claim.id).await
            && other.owner != claim.owner
        {
            return;
        }
    }
}

async fn finish(
    core: &Arc<Core>,
    claim: &Claim,
    grant: Grant,
    code_expires_at: Timestamp,
) -> Result<(), StoreError> {
    let id = claim.id;
    let Some(login) = core.store.login(id).await? else { return Ok(()) };
    let outcome = exchange(core, claim, &login, grant, code_expires_at).await?;
    match outcome {
        Outcome::Tokens(tokens) => match login.step_up {
            Some(session) => step_up::activate(core, claim, session, *tokens).await,
            None => activate(core, claim, login.binding, *tokens).await,
        },
        Outcome::Over(state) => give_up(core, claim, &state).await,
        Outcome::Released | Outcome::WrongResponse => {
            let approved = matches!(outcome, Outcome::WrongResponse);
            core.store.release_exchange(claim, approved).await?;
            core.login_wakes.wake(id);
            // What was decided meanwhile was told to a row that was not waiting: ask again, now that it is.
            let before = core.store.login(id).await?.and_then(|login| login.approval());
            if let Ok(challenge) = core.gateway.challenge(id).await {
                events::apply_challenge(core, challenge, before).await?;
            }
            Ok(())
        }
        Outcome::Left => Ok(()),
    }
}

/// Step 2.
async fn exchange(
    core: &Core,
    claim: &Claim,
    login: &Login,
    Grant { mut code, response }: Grant,
    mut code_expires_at: Timestamp,
) -> Result<Outcome, StoreError> {
    let id = claim.id;
    let verifier = core.keys.code_verifier(&login.seed);
    let mut unanswered = 0;
    let mut pause = FIRST_PAUSE;
    loop {
        let request = TokenRequest {
            grant_type: "authorization_code".into(),
            code: Some(code.to_string()),
            code_verifier: Some(verifier.to_string()),
            response_code: response.as_ref().map(|code| code.to_string()),
            ..TokenRequest::default()
        };
        let error = match core.gateway.exchange(&request).await {
            Ok(tokens) => return Ok(Outcome::Tokens(Box::new(tokens))),
            Err(error) => error,
        };
        tracing::warn!(challenge_id = %id, error = &error as &dyn std::error::Error, "no tokens for an approved sign-in yet");
        match Failure::of(&error) {
            Failure::NotDone => {}
            Failure::Unknown if login.step_up.is_none() => unanswered += 1,
            Failure::Unknown | Failure::Refused => {
                return Ok(Outcome::Over(LoginState::Expired(ExpireReason::Withdrawn)));
            }
            Failure::WrongResponse => return Ok(Outcome::WrongResponse),
            Failure::InvalidGrant => match after_invalid_grant(core, claim, &code, response.is_some()).await?
            {
                Next::Stop(outcome) => return Ok(outcome),
                Next::Code(next, expires_at) => {
                    (code, code_expires_at, unanswered) = (next, expires_at, 0);
                    continue;
                }
            },
        }
        if core.now() > code_expires_at.plus(CODE_MARGIN) {
            return Ok(Outcome::Over(LoginState::Expired(ExpireReason::CodeTimeout)));
        }
        if !core.pause(pause).await {
            return Ok(Outcome::Left);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        if unanswered > 1
            && let Some(outcome) = ask_first(core, id).await
        {
            return Ok(outcome);
        }
    }
}

/// Before a third attempt: whether there is still something to try.
async fn ask_first(core: &Core, id: ChallengeId) -> Option<Outcome> {
    let challenge = core.gateway.challenge(id).await.ok()?; // else the exchange will say whether it is back
    match challenge.status {
        // Approved: unused, try again. Active: done, and the answer lost; another use undoes it.
        ChallengeStatus::Approved | ChallengeStatus::Active => None,
        ChallengeStatus::Pending => Some(Outcome::Released),
        status => Some(Outcome::Over(events::end_of(status, challenge.reason))),
    }
}

enum Next {
    Stop(Outcome),
    Code(Zeroizing<String>, Timestamp),
}

/// `invalid_grant`: taken back, approved a second time, or used already. The challenge says which.
async fn after_invalid_grant(
    core: &Core,
    claim: &Claim,
    code: &str,
    is_linked: bool,
) -> Result<Next, StoreError> {
    let id = claim.id;
    let mut pause = FIRST_PAUSE;
    let deadline = core.now().plus(LEASE);
    loop {
        match core.gateway.challenge(id).await {
            Ok(challenge) => {
                return match (
                    challenge.status,
                    challenge.authorization_code,
                    challenge.did,
                    challenge.code_expires_at,
                ) {
                    (ChallengeStatus::Pending, ..) => Ok(Next::Stop(Outcome::Released)),
                    // What the browser brought belongs to the first approval, as its code did: the second has
                    // a way back of its own.
                    (ChallengeStatus::Approved, Some(next), ..) if is_linked && next != code => {
                        Ok(Next::Stop(Outcome::Released))
                    }
                    (ChallengeStatus::Approved, Some(next), Some(did), Some(code_expires_at))
                        if next != code =>
                    {
                        let code_sealed = core.keys.seal(&core.outside, "code", &id.to_string(), &next);
                        let approval = Approval { did, code_sealed, code_expires_at, response_sealed: None };
                        if core.store.replace_code(claim, &approval).await? {
                            Ok(Next::Code(next.into(), code_expires_at))
                        } else {
                            Ok(Next::Stop(Outcome::Left))
                        }
                    }
                    (ChallengeStatus::Approved, ..) => {
                        Ok(Next::Stop(Outcome::Over(LoginState::Expired(ExpireReason::Withdrawn))))
                    }
                    (status, ..) => Ok(Next::Stop(Outcome::Over(events::end_of(status, challenge.reason)))),
                };
            }
            Err(error) if error.code() == Some(ErrorCode::ChallengeNotFound) || core.now() > deadline => {
                return Ok(Next::Stop(Outcome::Over(LoginState::Expired(ExpireReason::Withdrawn))));
            }
            Err(_) => {
                if !core.pause(pause).await {
                    return Ok(Next::Stop(Outcome::Left));
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// What a failed exchange says about the code.
enum Failure {
    /// Certainly unused.
    NotDone,
    /// Perhaps used.
    Unknown,
    InvalidGrant,
    WrongResponse,
    /// Trying again would get the same answer.
    Refused,
}

impl Failure {
    fn of(error: &GatewayError) -> Self {
        match error {
            GatewayError::NotSent(_) => Self::NotDone,
            GatewayError::Unanswered(_) => Self::Unknown,
            GatewayError::Refused { problem, .. } => match problem.code {
                ErrorCode::InvalidGrant => Self::InvalidGrant,
                ErrorCode::WrongResponseCode => Self::WrongResponse,
                // Refused before anything was looked at; our credentials may be rotated at this moment.
                ErrorCode::RateLimited | ErrorCode::InvalidClient => Self::NotDone,
                code if code.status() >= 500 => Self::Unknown,
                _ => Self::Refused,
            },
        }
    }
}

/// Step 3. The database may be away for a moment; the tokens exist only here.
async fn activate(
    core: &Arc<Core>,
    claim: &Claim,
    binding: Binding,
    tokens: TokenResponse,
) -> Result<(), StoreError> {
    let id = claim.id;
    let Some(session) = new_session(core, binding, &tokens) else {
        disown(core, tokens.session_id).await;
        return give_up(core, claim, &LoginState::Expired(ExpireReason::Withdrawn)).await;
    };
    let activated = insisting(core, || core.store.activate(claim, &session)).await?;
    // A commit whose answer was lost may have happened; the row says so.
    if !activated && core.store.session(session.session_id).await?.is_none() {
        disown(core, session.session_id).await; // taken over meanwhile: nobody will use these tokens
        return Ok(());
    }
    tracing::info!(challenge_id = %id, session_id = %session.session_id, "session created");
    for event in core.recent.about_session(session.session_id) {
        events::apply(core, event).await?;
    }
    core.login_wakes.wake(id);
    Ok(())
}

/// Tries again while the database is away, as long as the lease is good.
pub(crate) async fn insisting<F: Future<Output = Result<bool, StoreError>>>(
    core: &Core,
    write: impl Fn() -> F,
) -> Result<bool, StoreError> {
    let mut pause = FIRST_PAUSE;
    let deadline = core.now().plus(LEASE);
    loop {
        match write().await {
            Err(error) if core.now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(pause).await,
            written => return written,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn new_session(core: &Core, binding: Binding, tokens: &TokenResponse) -> Option<NewSession> {
    let id = tokens.session_id.to_string();
    let now = core.now();
    let iss = issuer_of(&tokens.access_token);
    if iss.as_ref() != Some(&core.config.issuer) {
        tracing::error!(
            ?iss,
            expected = %core.config.issuer,
            "the tokens come from another issuer; set --issuer to what the gateway calls itself"
        );
        return None;
    }
    let Some(refresh_token) = &tokens.refresh_token else {
        tracing::error!("the gateway gave a sign-in no refresh token; is it a gateway of this version?");
        return None;
    };
    Some(NewSession {
        session_id: tokens.session_id,
        iss: core.config.issuer.clone(),
        sub: tokens.sub.clone(),
        did: tokens.did.clone(),
        scope: tokens.scope.clone(),
        requested_claims: core.config.claims.clone(),
        claims: tokens.claims.clone(),
        access_sealed: core.keys.seal(&core.outside, "access", &id, &tokens.access_token),
        access_expires_at: now.plus(Lifetime::from_secs(tokens.expires_in)),
        refresh_sealed: core.keys.seal(&core.outside, "refresh", &id, refresh_token),
        binding,
        created_at: now,
        expires_at: tokens.session_expires_at.unwrap_or_else(|| now.plus(SESSION_TTL)),
    })
}

/// Accounts are found by (`iss`, `sub`), so the issuer must be the one we were told. The signature need
/// not be checked: the token came from the gateway itself over our own connection.
pub(crate) fn issuer_of(access_token: &str) -> Option<Issuer> {
    #[derive(Deserialize)]
    struct Payload {
        iss: Issuer,
    }
    let payload = URL_SAFE_NO_PAD.decode(access_token.split('.').nth(1)?).ok()?;
    Some(serde_json::from_slice::<Payload>(&payload).ok()?.iss)
}

pub(crate) async fn give_up(core: &Core, claim: &Claim, state: &LoginState) -> Result<(), StoreError> {
    let id = claim.id;
    if core.store.fail_exchange(claim, state).await? {
        tracing::warn!(challenge_id = %id, ?state, "nothing came of an approved sign-in");
    }
    core.login_wakes.wake(id);
    Ok(())
}

/// Ends a session whose tokens nobody will use. Where that fails for good it stays in the person's
/// list of sessions until it runs out; nobody can do anything with it.
pub(crate) async fn disown(core: &Core, id: SessionId) {
    let mut pause = FIRST_PAUSE;
    for _ in 0..8 {
        if core.gateway.end_session(id).await.is_ok() || !core.pause(pause).await {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    tracing::warn!(session_id = %id, "a session that nobody can use is left at the gateway");
}
