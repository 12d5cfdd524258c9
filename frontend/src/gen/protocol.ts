// Generated from protocol/src; refresh with `cargo xtask codegen`.

export type Binding = "addressed" | "linked";
export type ChallengeStatus = "pending" | "approved" | "active" | "revoked" | "denied" | "expired";
export type DenyReason = "declined" | "not_me" | "wrong_match_code";
export type ExpireReason = "timeout" | "code_timeout" | "replaced" | "withdrawn" | "other_browser" | "session_ended";
export type EndReason = DenyReason | ExpireReason;
export type RevokeReason = "user" | "service" | "superseded" | "refresh_reuse" | "code_reuse" | "expired" | "retired" | "admin";
export type StartRequest = { 
/**
 * A handle or a DID; absent to open the wallet on this machine.
 */
login_hint?: string, };
export type StartResponse = { 
/**
 * The challenge; a cookie of its own belongs to it.
 */
challenge_id: string, 
/**
 * How it is tied to this browser.
 */
binding: Binding, 
/**
 * `pending`.
 */
status: ChallengeStatus, 
/**
 * The number to show; addressed only.
 */
match_code: string | null, 
/**
 * What opens the wallet; linked only.
 */
wallet_link: string | null, 
/**
 * Where its events are.
 */
stream_url: string, 
/**
 * Until when it can be answered.
 */
expires_at: string, };
export type LoginStatus = { 
/**
 * The challenge.
 */
challenge_id: string, 
/**
 * Where it stands, as the browser may know it.
 */
status: ChallengeStatus, 
/**
 * Until when it can be answered.
 */
expires_at: string, 
/**
 * Whether a wallet has taken the link (linked challenges): the page need not offer another way.
 */
claimed?: boolean, 
/**
 * Why it ended.
 */
reason?: EndReason, 
/**
 * Who approved: once approved for an addressed challenge, once active for a linked one.
 */
did?: string, };
export type ReturnRequest = { 
/**
 * The challenge.
 */
challenge_id: string, 
/**
 * `miid_rc_…`
 */
response_code: string, 
/**
 * Which gateway says so.
 */
iss: string, 
/**
 * Whom the browser was told it goes on as.
 */
did?: string, };
export type SessionInfo = { 
/**
 * The person, at this service.
 */
sub: string, 
/**
 * The wallet.
 */
did: string, 
/**
 * The gateway's session.
 */
session_id: string, 
/**
 * What the service asked to know.
 */
requested_claims: Array<string>, 
/**
 * What the person chose to share.
 */
approved_claims: Array<string>, 
/**
 * The values, self-attested.
 */
claims: { [key in string]: string }, 
/**
 * Since when.
 */
created_at: string, 
/**
 * At the latest.
 */
expires_at: string, 
/**
 * Until when the person's last step-up counts, where there was one.
 */
stepped_up_until?: string, };
export type ForceLogout = { 
/**
 * Why the session ended.
 */
reason: RevokeReason, 
/**
 * When.
 */
at: string, };
export type ErrorCode = "invalid_request" | "invalid_did" | "unsupported_did_method" | "invalid_grant" | "wrong_response_code" | "unsupported_grant_type" | "invalid_scope" | "invalid_client" | "invalid_proof" | "stale_proof" | "replayed_proof" | "invalid_statement" | "invalid_token" | "not_authenticated" | "did_mismatch" | "did_retired" | "wrong_match_code" | "cross_site_request" | "challenge_not_found" | "session_not_found" | "service_not_found" | "not_found" | "method_not_allowed" | "challenge_not_pending" | "challenge_not_approved" | "already_claimed" | "already_completed" | "not_active_yet" | "handle_taken" | "challenge_expired" | "body_too_large" | "too_many_challenges" | "rate_limited" | "internal_error" | "store_unavailable" | "gateway_unavailable" | "busy";
export type Problem = { 
/**
 * `urn:miid:problem:<code>`.
 */
type: string, 
/**
 * One line, the same for every occurrence.
 */
title: string, 
/**
 * The HTTP status.
 */
status: number, 
/**
 * What was wrong this time, and what to do about it.
 */
detail?: string, 
/**
 * The code to decide by.
 */
code: ErrorCode, 
/**
 * RFC 6749's `error`, at the token endpoints.
 */
error?: string, 
/**
 * RFC 6749's `error_description`, at the token endpoints.
 */
error_description?: string, };
