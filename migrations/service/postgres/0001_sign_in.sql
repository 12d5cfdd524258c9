-- What a service remembers. Text and bigint columns only, so that one SQL text serves both databases;
-- times are milliseconds since 1970. Secrets stand here as SHA-256 (…_hash), as a keyed digest
-- (hint_digest) or sealed under the key file (…_sealed), never in the clear.

-- The key file that this database was made with, and when a gateway was last heard of.
CREATE TABLE facts (
    name        TEXT   NOT NULL PRIMARY KEY,   -- 'key_check', 'heard_at'
    text_value  TEXT   NOT NULL,
    int_value   BIGINT NOT NULL
);

-- One sign-in of one browser, from /auth/start until it is swept.
CREATE TABLE logins (
    challenge_id     TEXT   NOT NULL PRIMARY KEY,
    cookie_hash      TEXT   NOT NULL,          -- of the login-<challenge_id> cookie
    seed             TEXT   NOT NULL,          -- the code_verifier is derived from it and the key file
    hint_digest      TEXT   NOT NULL,          -- keyed: who was asked for, readable to nobody
    binding          TEXT   NOT NULL,          -- 'addressed' | 'linked'
    state            TEXT   NOT NULL,          -- 'waiting' | 'exchanging' | 'active' | 'denied' | 'expired'
    reason           TEXT,                     -- why it was denied or expired
    approved_did     TEXT,                     -- who approved: while exchanging, and (linked) while waiting
    code_sealed      TEXT,                     -- the authorization code, while exchanging
    code_expires_at  BIGINT,
    exchange_owner   TEXT,                     -- the instance that exchanges …
    exchange_until   BIGINT,                   -- … and until when it need not say that it still lives
    exchange_tries   BIGINT NOT NULL DEFAULT 0,
    session_id       TEXT,                     -- what came of it
    withdraw_due_at  BIGINT,                   -- the gateway has yet to hear that it was given up
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL
);
CREATE INDEX logins_open ON logins (exchange_until) WHERE state = 'exchanging';
CREATE INDEX logins_waiting ON logins (expires_at) WHERE state = 'waiting';
CREATE INDEX logins_withdraw ON logins (withdraw_due_at) WHERE withdraw_due_at IS NOT NULL;
CREATE INDEX logins_age ON logins (expires_at);

-- One session of one browser; the gateway's id names it.
CREATE TABLE sessions (
    session_id         TEXT   NOT NULL PRIMARY KEY,
    sid_hash           TEXT   UNIQUE,          -- of the sid cookie; none until the browser completes
    iss                TEXT   NOT NULL,        -- (iss, sub) is the account
    sub                TEXT   NOT NULL,
    did                TEXT   NOT NULL,
    scope              TEXT   NOT NULL,
    requested_claims   TEXT   NOT NULL,        -- JSON, a list of names
    claims             TEXT   NOT NULL,        -- JSON, name to value, self-attested
    access_sealed      TEXT   NOT NULL,
    access_expires_at  BIGINT NOT NULL,
    refresh_sealed     TEXT   NOT NULL,
    token_version      BIGINT NOT NULL DEFAULT 0,
    created_at         BIGINT NOT NULL,
    completed_at       BIGINT,
    checked_at         BIGINT NOT NULL,        -- when the gateway last said that it lives
    expires_at         BIGINT NOT NULL,
    ended_at           BIGINT,
    end_reason         TEXT,
    end_due_at         BIGINT                  -- the gateway has yet to hear that it ended
);
CREATE INDEX sessions_live ON sessions (session_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_uncompleted ON sessions (created_at) WHERE completed_at IS NULL AND ended_at IS NULL;
CREATE INDEX sessions_end_due ON sessions (end_due_at) WHERE end_due_at IS NOT NULL;
CREATE INDEX sessions_age ON sessions (expires_at);
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- Browsers that have signed in before, and as whom.
CREATE TABLE known_browsers (
    browser_hash  TEXT   NOT NULL,             -- of the known cookie
    iss           TEXT   NOT NULL,
    sub           TEXT   NOT NULL,
    did           TEXT   NOT NULL,
    hint_digest   TEXT   NOT NULL,             -- keyed: what was typed the last time
    last_seen     BIGINT NOT NULL,
    PRIMARY KEY (browser_hash, iss, sub)
);
CREATE INDEX known_browsers_age ON known_browsers (last_seen);
