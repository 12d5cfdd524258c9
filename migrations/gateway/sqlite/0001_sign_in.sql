-- What the gateway remembers. Text and bigint columns only, so that one SQL text serves SQLite and
-- PostgreSQL; times are milliseconds since 1970; secrets stand here as SHA-256 or not at all. Small rows
-- with random keys are clustered by them in SQLite, large ones are appended: the rest is the same.

-- Small facts about the database itself: which keys it belongs to, and a counter that the command
-- line moves when it changed services or keys beside running instances.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Relying parties.
CREATE TABLE services (
    client_id        TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    secret_hash      TEXT NOT NULL,
    old_secret_hash  TEXT,             -- still accepted until old_secret_until
    old_secret_until BIGINT,
    return_urls      TEXT NOT NULL,    -- JSON array
    scopes           TEXT NOT NULL,    -- JSON array: what may be asked for
    session_policy   TEXT NOT NULL,    -- single | multiple
    binding          TEXT NOT NULL,    -- any | linked
    created_at       BIGINT NOT NULL
);

-- Token signing keys: when they count. The private halves are derived from the key file and never here.
CREATE TABLE signing_keys (
    kid         TEXT PRIMARY KEY,
    created_at  BIGINT NOT NULL,
    active_from BIGINT NOT NULL,
    retired_at  BIGINT
);

-- What people are called. A released handle stays frozen for its last holder until frozen_until.
CREATE TABLE handles (
    handle       TEXT PRIMARY KEY,
    skeleton     TEXT NOT NULL UNIQUE,
    did          TEXT NOT NULL,
    person_key   TEXT NOT NULL,    -- keyed hash of the DID: what quotas count
    claimed_at   BIGINT NOT NULL,
    frozen_until BIGINT
);
CREATE UNIQUE INDEX handles_held ON handles (did) WHERE frozen_until IS NULL;
CREATE INDEX handles_frozen ON handles (did, frozen_until) WHERE frozen_until IS NOT NULL;

-- Who a person is at a service; random, so that two services cannot join their users on it.
CREATE TABLE subjects (
    client_id TEXT NOT NULL,
    did       TEXT NOT NULL,
    sub       TEXT NOT NULL,
    PRIMARY KEY (client_id, did)
) WITHOUT ROWID;

-- Requests to sign in. `version` makes every change a compare-and-set. `deadline` is what sweeps and
-- lists go by: when a pending or approved one is over, null for all others. Codes are nowhere: they are
-- derived from the key file, the id and `approvals`.
CREATE TABLE challenges (
    id              TEXT PRIMARY KEY,
    version         BIGINT NOT NULL,
    client_id       TEXT NOT NULL,
    did             TEXT,              -- null: the hint named nobody (or, linked, nobody claimed it yet)
    hint_key        TEXT NOT NULL,     -- keyed hash of the hint: what quotas count
    person_key      TEXT NOT NULL,     -- keyed hash of whom it resolved to, known or not
    known_browser   BIGINT NOT NULL,
    binding         TEXT NOT NULL,     -- addressed | linked
    nonce           TEXT NOT NULL,
    request         TEXT NOT NULL,     -- the text that is shown and signed
    code_challenge  TEXT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    state           TEXT NOT NULL,     -- pending | approved | active | denied | expired
    reason          TEXT,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,   -- of pending
    changed_at      BIGINT NOT NULL,
    deadline        BIGINT,
    approvals       BIGINT NOT NULL,   -- how often it was approved; each has a code of its own
    code_expires_at BIGINT,
    scopes          TEXT,              -- granted, JSON array
    grant_id        TEXT,              -- the approval: its line in the audit log, and its disclosure
    session_id      TEXT
);
CREATE INDEX challenges_of_person ON challenges (person_key) WHERE deadline IS NOT NULL;
CREATE INDEX challenges_of_service ON challenges (client_id, id) WHERE deadline IS NOT NULL;
CREATE INDEX challenges_by_deadline ON challenges (deadline) WHERE deadline IS NOT NULL;

-- What an approval became. Refresh tokens are nowhere: they are derived from the key file, the id and
-- `generation`.
CREATE TABLE sessions (
    id            TEXT PRIMARY KEY,
    challenge_id  TEXT NOT NULL,
    client_id     TEXT NOT NULL,
    did           TEXT NOT NULL,
    sub           TEXT NOT NULL,
    scopes        TEXT NOT NULL,       -- JSON array
    grant_id      TEXT NOT NULL,       -- the approval: its line in the audit log, and its disclosure
    created_at    BIGINT NOT NULL,
    last_used_at  BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,     -- absolute
    idle_until    BIGINT NOT NULL,     -- unless refreshed before
    generation    BIGINT NOT NULL,     -- of the refresh token that counts
    rotated_at    BIGINT NOT NULL,
    revoked_at    BIGINT,
    reason        TEXT
);
CREATE INDEX sessions_of_person ON sessions (did, client_id) WHERE revoked_at IS NULL;
CREATE INDEX sessions_of_service ON sessions (client_id, id) WHERE revoked_at IS NULL;
CREATE INDEX sessions_idle ON sessions (idle_until) WHERE revoked_at IS NULL;

-- Proofs that were accepted, until they could not be accepted again anyway.
CREATE TABLE proofs (
    id         TEXT PRIMARY KEY,       -- SHA-256 of DID and jti
    forget_at  BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX proofs_by_age ON proofs (forget_at);

-- Who decided what, for ever. A statement's jti is unique per DID for ever.
CREATE TABLE audit (
    id           TEXT PRIMARY KEY,
    at           BIGINT NOT NULL,
    action       TEXT NOT NULL,
    client_id    TEXT,
    did          TEXT,
    challenge_id TEXT,
    session_id   TEXT,
    reason       TEXT,
    jti_key      TEXT,                 -- SHA-256 of DID and jti
    statement    TEXT
);
CREATE UNIQUE INDEX audit_jti ON audit (jti_key) WHERE jti_key IS NOT NULL;

-- What a person shared with an approval. It can be erased: the statement holds its digest only.
CREATE TABLE disclosures (
    grant_id   TEXT PRIMARY KEY,
    disclosure TEXT NOT NULL
) WITHOUT ROWID;

-- Logs that streams are read from, numbered per stream without gaps. A stream begins at the time of
-- its first use, in milliseconds, so that the numbers of one that was forgotten never come again.
CREATE TABLE streams (
    stream     TEXT PRIMARY KEY,
    id         BIGINT NOT NULL UNIQUE, -- what its events are kept by: short, since each event repeats it
    head       BIGINT NOT NULL,
    pruned_to  BIGINT NOT NULL,
    touched_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE events (
    stream_id BIGINT NOT NULL,
    seq       BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    name      TEXT NOT NULL,
    data      TEXT NOT NULL,           -- never with a code in it
    about     TEXT,                    -- challenge, in a service's log
    approval  BIGINT,                  -- which approval's code belongs into it
    PRIMARY KEY (stream_id, seq)
);
CREATE INDEX events_by_age ON events (at);
CREATE INDEX events_about ON events (about) WHERE about IS NOT NULL;
