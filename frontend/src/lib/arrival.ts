// Coming back from the wallet: what stands behind the `#` of `/auth/return`. It is a secret, so it is
// taken out of the address before anything else happens on the page.

import type { Arrival, Back } from "./login";

/** Reads how this tab was opened, and leaves nothing of it in the address or its history. */
export function takeArrival(
  location: Pick<Location, "pathname" | "hash">,
  history: Pick<History, "replaceState">,
  ask: boolean,
): Arrival {
  if (location.pathname !== "/auth/return") return null;
  const fragment = location.hash.replace(/^#/, "");
  // To the front page: a reload must not look for what is gone.
  history.replaceState(null, "", "/");
  if (fragment === "") return null;
  const back = parseBack(fragment);
  return back ? { back, ask } : "broken";
}

/**
 * Whether the service saw this browser come by itself. Whatever else stands there, or nothing, means
 * that another page may have led here.
 */
export function mustAsk(document: Pick<Document, "querySelector">): boolean {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="miid-return"]');
  return meta?.content !== "go";
}

/** Exactly these members, each once, `did` at most; what is in them the service judges. */
export function parseBack(fragment: string): Back | null {
  const members = new Map<string, string>();
  for (const pair of fragment.split("&")) {
    const at = pair.indexOf("=");
    const name = pair.slice(0, at);
    if (at < 0 || members.has(name)) return null;
    try {
      members.set(name, decodeURIComponent(pair.slice(at + 1)));
    } catch {
      return null;
    }
  }
  const [id, responseCode, issuer] = ["challenge_id", "response_code", "iss"].map((name) =>
    members.get(name),
  );
  const did = members.get("did") ?? null;
  const wanted = did === null ? 3 : 4;
  if (members.size !== wanted || !id || !responseCode?.startsWith("miid_rc_") || !issuer)
    return null;
  if (did !== null && !did.startsWith("did:key:z")) return null;
  return { id, responseCode, issuer, did };
}
