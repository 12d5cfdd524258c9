import type { Connection, ConnectionState, Identity } from "./types";

/** The worst first: that is what the person has to know. */
const WORST: readonly ConnectionState[] = [
  "stopped",
  "disconnected",
  "connecting",
  "idle",
  "connected",
];

/** How it stands with everybody's gateways, in one; a retired identity listens to nobody. */
export function connectionOf(identities: readonly Identity[]): Connection {
  const all = identities
    .filter(({ retired_at }) => retired_at === null)
    .flatMap(({ gateways }) => gateways.map(({ connection }) => connection));
  for (const state of WORST) {
    const found = all.find((connection) => connection.state === state);
    if (found) return found;
  }
  return { state: "idle" };
}

/** "gateway.example" for "https://gateway.example"; http is left to be seen. */
export function hostOf(issuer: string): string {
  return issuer.replace(/^https:\/\//, "");
}

/** An address as a person types it, as the core wants it: an origin. Null where it is none. */
export function originOf(typed: string): string | null {
  const text = typed.trim();
  if (text === "" || /\s/.test(text)) return null;
  // "example.com:8443" has no scheme, though it parses as if it had.
  const whole = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`;
  let url: URL;
  try {
    url = new URL(whole);
  } catch {
    return null;
  }
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && loopback)) return null;
  if (url.username !== "" || url.password !== "") return null;
  return url.origin;
}

/** A handle that might suit the name; empty where nothing of it can be used. */
export function suggestHandle(name: string): string {
  const plain = name
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 32)
    .replace(/-+$/, "");
  return plain.length >= 3 ? plain : "";
}

const HANDLE = /^[a-z0-9](?:[a-z0-9_-]{1,30})[a-z0-9]$/;

/** A handle as the gateway keeps it, or null. */
export function handleOf(typed: string): string | null {
  const plain = typed.trim().replace(/^@/, "").toLowerCase();
  return HANDLE.test(plain) ? plain : null;
}
