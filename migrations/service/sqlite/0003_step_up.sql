-- Step-ups: a login for a session that is there already. Its token is kept with the login until the browser of
-- that session completes it, and then with the session, sealed, until its time is over.
ALTER TABLE logins ADD COLUMN step_up_session      TEXT;   -- what it is for; none for a sign-in
ALTER TABLE logins ADD COLUMN step_up_sealed       TEXT;   -- the token, between exchange and completion
ALTER TABLE logins ADD COLUMN step_up_expires_at   BIGINT;
ALTER TABLE sessions ADD COLUMN step_up_sealed     TEXT;   -- the token of the last step-up
ALTER TABLE sessions ADD COLUMN step_up_expires_at BIGINT;
ALTER TABLE sessions ADD COLUMN step_up_challenge  TEXT;   -- what it came of: a newer one has a larger id
ALTER TABLE sessions ADD COLUMN binding            TEXT;   -- how the person signed in; none: before this was noted
CREATE INDEX logins_step_up ON logins (step_up_session) WHERE step_up_session IS NOT NULL;
CREATE INDEX logins_step_up_age ON logins (step_up_expires_at) WHERE step_up_expires_at IS NOT NULL;
CREATE INDEX sessions_step_up_age ON sessions (step_up_expires_at) WHERE step_up_expires_at IS NOT NULL;
