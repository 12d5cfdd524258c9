// A signed statement, opened to be read. Whether its signature holds is not this page's to say: the
// wallet wrote it itself, and whoever is shown it can check.

export interface Statement {
  decision: string;
  /** The identity that decided. */
  by: string;
  /** The service, or the gateway where it is about the identity. */
  about: string;
  gateway: string;
  /** Milliseconds since 1970. */
  at: number | null;
  matchCode: string | null;
  reason: string | null;
  scopes: string[] | null;
  /** Whether values went along; the statement holds their digest alone. */
  disclosed: boolean;
  request: string | null;
  sessionId: string | null;
}

/** Null where the text is no compact JWS with an object in it. */
export function openStatement(jws: string): Statement | null {
  const parts = jws.split(".");
  const payload = parts.length === 3 ? json(parts[1]!) : null;
  if (payload === null) return null;
  const text = (name: string) => {
    const value = payload[name];
    return typeof value === "string" ? value : null;
  };
  const decision = text("decision");
  const by = text("iss");
  if (decision === null || by === null) return null;
  const iat = payload["iat"];
  const scopes = payload["scopes"];
  return {
    decision,
    by,
    about: text("aud") ?? "",
    gateway: text("gateway") ?? "",
    at: typeof iat === "number" ? iat * 1000 : null,
    matchCode: text("match_code"),
    reason: text("reason"),
    scopes: Array.isArray(scopes) ? scopes.filter((scope) => typeof scope === "string") : null,
    disclosed: text("disclosure") !== null,
    request: text("challenge_id"),
    sessionId: text("session_id"),
  };
}

function json(part: string): Record<string, unknown> | null {
  try {
    const binary = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}
