-- Who is connected. One row says that an instance of a service is there; each of the others that a session has
-- an open page or socket at it. When the instance is not heard of any more, all of its sessions are over.
CREATE TABLE presence_holders (
    holder     TEXT PRIMARY KEY,       -- random, the instance's own
    client_id  TEXT NOT NULL,
    seq        BIGINT NOT NULL,        -- of its last report: one that comes late changes nothing
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX presence_holders_of_service ON presence_holders (client_id);
CREATE TABLE presence (
    session_id TEXT NOT NULL,
    holder     TEXT NOT NULL,
    since      BIGINT NOT NULL,
    PRIMARY KEY (session_id, holder)
) WITHOUT ROWID;
CREATE INDEX presence_of_holder ON presence (holder);

-- Services ask about a person by `sub`.
CREATE INDEX sessions_of_sub ON sessions (client_id, sub) WHERE revoked_at IS NULL;
