//! Where things are: route templates as axum and OpenAPI write them, and the paths made from them.

use crate::ids::{ChallengeId, SessionId};

/// Service → gateway: ask for a challenge.
pub const CHALLENGE: &str = "/v1/auth/challenge";
/// Service → gateway: one challenge.
pub const CHALLENGE_BY_ID: &str = "/v1/auth/challenges/{id}";
/// Service → gateway: give a challenge up.
pub const CHALLENGE_WITHDRAW: &str = "/v1/auth/challenges/{id}/withdraw";
/// Service → gateway: the event stream.
pub const SERVICE_EVENTS: &str = "/v1/service/events";
/// Service → gateway: live challenges.
pub const SERVICE_CHALLENGES: &str = "/v1/service/challenges";
/// Service → gateway: live sessions.
pub const SERVICE_SESSIONS: &str = "/v1/service/sessions";
/// Service → gateway: codes and refresh tokens for tokens.
pub const TOKEN_EXCHANGE: &str = "/v1/token/exchange";
/// Service → gateway: RFC 7662.
pub const TOKEN_INTROSPECT: &str = "/v1/token/introspect";
/// Service → gateway: RFC 7009.
pub const TOKEN_REVOKE: &str = "/v1/token/revoke";
/// Service → gateway: what an access token stands for.
pub const USERINFO: &str = "/v1/userinfo";
/// Service → gateway: end a session.
pub const SESSION_BY_ID: &str = "/v1/sessions/{id}";
/// Service → gateway: which sessions have an open page or socket at one of its instances.
pub const SERVICE_PRESENCE: &str = "/v1/service/presence";
/// Service → gateway: whether a person is connected now.
pub const SESSIONS_ACTIVE: &str = "/v1/sessions/active";
/// RFC 7517.
pub const JWKS: &str = "/.well-known/jwks.json";
/// RFC 8414.
pub const METADATA: &str = "/.well-known/oauth-authorization-server";
/// Wallet → gateway: the event stream.
pub const WALLET_EVENTS: &str = "/v1/wallet/events";
/// Wallet → gateway: pending and approved challenges.
pub const WALLET_CHALLENGES: &str = "/v1/wallet/challenges";
/// Wallet → gateway: approve.
pub const WALLET_APPROVE: &str = "/v1/wallet/challenges/{id}/approve";
/// Wallet → gateway: deny.
pub const WALLET_DENY: &str = "/v1/wallet/challenges/{id}/deny";
/// Wallet → gateway: take an approval back.
pub const WALLET_CANCEL: &str = "/v1/wallet/challenges/{id}/cancel";
/// Wallet → gateway: take a linked challenge.
pub const WALLET_CLAIM: &str = "/v1/wallet/challenges/{id}/claim";
/// Wallet → gateway: live sessions.
pub const WALLET_SESSIONS: &str = "/v1/wallet/sessions";
/// Wallet → gateway: end a session.
pub const WALLET_REVOKE: &str = "/v1/wallet/sessions/{id}/revoke";
/// Wallet → gateway: claim a handle.
pub const WALLET_HANDLE: &str = "/v1/wallet/handle";
/// Wallet → gateway: the key is lost, everything ends.
pub const WALLET_RETIRE: &str = "/v1/wallet/retire";
/// Alive.
pub const HEALTHZ: &str = "/healthz";
/// Ready for traffic.
pub const READYZ: &str = "/readyz";
/// The gateway's description of itself.
pub const OPENAPI: &str = "/openapi.json";

/// Browser → service: begin.
pub const AUTH_START: &str = "/auth/start";
/// Browser → service: one login's events.
pub const AUTH_STREAM: &str = "/auth/stream/{id}";
/// Browser → service: the same by polling.
pub const AUTH_STATUS: &str = "/auth/status/{id}";
/// Browser → service: become signed in.
pub const AUTH_COMPLETE: &str = "/auth/complete/{id}";
/// Browser → service: back from the wallet (linked sign-in).
pub const AUTH_RETURN: &str = "/auth/return";
/// Browser → service: give the login up.
pub const AUTH_CANCEL: &str = "/auth/cancel/{id}";
/// Browser → service: sign out.
pub const AUTH_LOGOUT: &str = "/auth/logout";
/// Browser → service: who is signed in.
pub const SESSION: &str = "/session";
/// Browser → service: told when the session ends.
pub const SESSION_STREAM: &str = "/session/stream";

/// A template with its `{id}` filled in.
pub fn with_id(template: &str, id: impl std::fmt::Display) -> String {
    template.replace("{id}", &id.to_string())
}

/// The wallet's approve path for a challenge.
pub fn approve(id: ChallengeId) -> String {
    with_id(WALLET_APPROVE, id)
}

/// The wallet's revoke path for a session.
pub fn revoke(id: SessionId) -> String {
    with_id(WALLET_REVOKE, id)
}
