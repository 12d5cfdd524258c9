-- Asking once more, in a session that is there.

-- How a service may ask for that: linked | any.
ALTER TABLE services ADD COLUMN step_up TEXT NOT NULL DEFAULT 'linked';

-- What a step-up is for; null: a sign-in. Whose session it is and until when it lives, its own row says: a step-up
-- is over when its session is.
ALTER TABLE challenges ADD COLUMN step_up_session TEXT;
CREATE INDEX challenges_of_session ON challenges (step_up_session)
    WHERE step_up_session IS NOT NULL AND deadline IS NOT NULL;
