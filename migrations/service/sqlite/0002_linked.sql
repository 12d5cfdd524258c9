-- Linked sign-ins: a wallet takes the page's link, the person approves, and the browser comes back with a
-- response code. The authorization code is not kept while we wait for that: it is asked for when it is needed.
ALTER TABLE logins ADD COLUMN claimed_at      BIGINT;  -- when a wallet took the link
ALTER TABLE logins ADD COLUMN response_sealed TEXT;    -- what the browser came back with, while exchanging
