// What a person may type to say who they are: a handle (protocol, section 5) or a DID.

const HANDLE = /^[a-z0-9][a-z0-9_-]{1,30}[a-z0-9]$/;
const DID = /^did:[a-z0-9]+:[A-Za-z0-9._:%-]+$/;

/**
 * The hint to send for what was typed, or null where it can be neither a handle nor a DID.
 * Whether it belongs to anybody is never told to a page, so this is all that can be checked.
 */
export function parseHint(typed: string): string | null {
  const text = typed.trim();
  if (DID.test(text)) return text;
  const handle = text.replace(/^@/, "").toLowerCase();
  return HANDLE.test(handle) ? handle : null;
}

/** A DID short enough to stand in a line, its end kept because that is where two of them differ. */
export function shorten(did: string): string {
  const name = did.replace(/^did:key:/, "");
  return name.length <= 16 ? name : `${name.slice(0, 8)}…${name.slice(-6)}`;
}
