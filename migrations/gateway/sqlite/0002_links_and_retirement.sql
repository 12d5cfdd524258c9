-- Sign-in by link, and identities that are over.

-- Where the person's browser returns to after an approval: what makes a challenge a linked one. Nobody is
-- asked until a wallet claims it; until then did is null, and hint_key and person_key are its own id, so that
-- it counts for nobody. The link's secret and the response codes are nowhere: they are derived from the key
-- file, the id and `approvals`.
ALTER TABLE challenges ADD COLUMN return_url TEXT;

-- Identities that their owners ended, for ever. The statements stand in the audit log.
CREATE TABLE retired (
    did TEXT PRIMARY KEY,
    at  BIGINT NOT NULL
) WITHOUT ROWID;
