// The service backend as the pages see it, for pictures only: it serves dist/ under the service's
// content security policy and lets a scene decide every answer.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

export const ID = "019aa0c0-0000-7000-8000-000000000001";
export const DID = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";

export const LINK = `miid://challenge/${ID}?iss=http://127.0.0.1:14000&s=miid_ls_${"A".repeat(43)}`;
/** Where a wallet sends the browser back to. */
export const RETURN = `auth/return#challenge_id=${ID}&response_code=miid_rc_${"B".repeat(43)}&iss=http://127.0.0.1:14000&did=${DID}`;

const inMs = (ms) => new Date(Date.now() + ms).toISOString();

export const session = (more = {}) => ({
  sub: "5f0d1f3c",
  did: DID,
  session_id: "019aa0c0-0000-7000-8000-00000000000a",
  requested_claims: ["name", "email"],
  approved_claims: ["name"],
  claims: { name: "Alice Kim" },
  created_at: inMs(-90_000),
  expires_at: inMs(30 * 86_400_000),
  ...more,
});

/** One service with one challenge at most; `set` changes what it answers from now on. */
export async function startMockService(dist) {
  const state = {
    session: null,
    down: false,
    start: null,
    status: "pending",
    reason: undefined,
    ttlMs: 299_400,
    known: false,
    complete: { status: 200 },
    logout: { status: 204 },
    expiresAt: null,
    claimed: false,
    did: undefined,
    /** Of the page's head: who may sign in how, and whether the page asks. */
    binding: "any",
    arrival: null,
    /** What `POST /auth/return` answers: a problem, or where the sign-in then stands. */
    returned: { status: "active", reason: undefined },
    /** What `GET /auth/status` answers instead. */
    statusRefused: null,
    /** Of the page's head: whether there is a balance and something to send. */
    transfer: "off",
    balance: 1000,
    /** What the demo's two calls answer instead: a problem, "never", or "lost" once it was done. */
    balanceRefused: null,
    transferRefused: null,
    stepUpBinding: "linked",
    /** Whether the session was confirmed, and every transfer that was done. */
    steppedUp: false,
    transfers: [],
    calls: [],
  };
  const logins = new Set();
  const sessions = new Set();

  /** A challenge; linked ones open a wallet, addressed ones have a number. */
  const begun = (linked) => {
    Object.assign(state, {
      known: true,
      status: "pending",
      reason: undefined,
      claimed: false,
      expiresAt: inMs(state.ttlMs),
    });
    return {
      challenge_id: ID,
      binding: linked ? "linked" : "addressed",
      status: "pending",
      match_code: linked ? null : "47",
      wallet_link: linked ? LINK : null,
      stream_url: `/auth/stream/${ID}`,
      expires_at: state.expiresAt,
    };
  };

  function transfer(response, { to, amount }) {
    if (!state.session) return problem(response, 401, "not_authenticated");
    if (state.transferRefused === "never") return;
    if (Array.isArray(state.transferRefused)) return problem(response, ...state.transferRefused);
    if (amount > state.balance) return problem(response, 409, "insufficient_funds");
    if (amount >= 100 && !state.steppedUp) {
      state.asked = (state.asked ?? 0) + 1;
      const step_up = begun(state.stepUpBinding === "linked");
      const code = "step_up_required";
      return json(response, 401, {
        type: `urn:miid:problem:${code}`,
        title: code,
        status: 401,
        code,
        step_up,
      });
    }
    state.transfers.push({ to, amount });
    state.balance -= amount;
    if (state.transferRefused === "lost") {
      // In the middle: a browser sends again what was not answered at all.
      response.writeHead(200, { "content-type": "application/json", "content-length": "100" });
      return response.write("{", () => response.destroy());
    }
    const transferred = { to, amount, at: inMs(0), id: `t${state.transfers.length}` };
    json(response, 200, { transferred, balance: state.balance });
  }

  const snapshot = () => ({
    challenge_id: ID,
    status: state.status,
    expires_at: state.expiresAt,
    ...(state.reason ? { reason: state.reason } : {}),
    ...(state.claimed ? { claimed: true } : {}),
    ...(state.did && state.status === "active" ? { did: state.did } : {}),
  });
  const isFinal = () => ["active", "denied", "expired"].includes(state.status);

  function json(response, status, body, headers = {}) {
    const type = status >= 400 ? "application/problem+json" : "application/json";
    response.writeHead(status, { "content-type": type, "cache-control": "no-store", ...headers });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  }
  const problem = (response, status, code, headers) =>
    json(
      response,
      status,
      { type: `urn:miid:problem:${code}`, title: code, status, code },
      headers,
    );

  function stream(response, set) {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write("retry: 1000\n\n");
    set.add(response);
    response.on("close", () => set.delete(response));
  }
  function event(response, name, data, final) {
    response.write(
      `event: ${name}\n${final ? "id: final\n" : ""}data: ${JSON.stringify(data)}\n\n`,
    );
    if (final) response.end();
  }

  const metas = (path) =>
    `<meta name="miid-binding" content="${state.binding}" />` +
    `<meta name="miid-transfer" content="${state.transfer}" />` +
    (path === "/" ? "" : `<meta name="miid-return" content="${state.arrival ?? "go"}" />`);

  async function file(response, path) {
    const isPage = path === "/" || path === "/auth/return";
    const name = isPage ? "/index.html" : normalize(path);
    try {
      const bytes = isPage
        ? (await readFile(join(dist, name), "utf8")).replace("</head>", `${metas(path)}</head>`)
        : await readFile(join(dist, name));
      response.writeHead(200, {
        "content-type": TYPES[extname(name)] ?? "application/octet-stream",
        "content-security-policy": CSP,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
      });
      response.end(bytes);
    } catch {
      problem(response, 404, "not_found");
    }
  }

  const server = createServer((request, response) => {
    const call = `${request.method} ${request.url}`;
    let sent = "";
    request.on("data", (chunk) => (sent += chunk));
    if (/^GET \/(assets\/|favicon|auth\/return$|$)/.test(call))
      return void file(response, request.url);
    state.calls.push(call);
    // As the service does: a policy on referrers must never turn our own Origin into "null".
    if (request.method === "POST" && request.headers.origin !== `http://${request.headers.host}`)
      return problem(response, 403, "cross_site_request");
    if (state.down) return problem(response, 503, "gateway_unavailable", state.down);
    switch (call) {
      case "GET /session":
        if (state.session) return json(response, 200, state.session);
        return problem(response, 401, "not_authenticated");
      case "GET /session/stream":
        if (!state.session) return problem(response, 401, "not_authenticated");
        return stream(response, sessions);
      case "POST /auth/start":
        if (state.start === "never") return;
        if (state.start) return problem(response, ...state.start);
        return void request.on("end", () => {
          json(response, 201, begun(JSON.parse(sent).login_hint === undefined));
        });
      case "GET /demo/balance":
        if (!state.session) return problem(response, 401, "not_authenticated");
        if (state.balanceRefused === "never") return;
        if (state.balanceRefused) return problem(response, ...state.balanceRefused);
        return json(response, 200, { balance: state.balance });
      case "POST /demo/transfer":
        return void request.on("end", () => transfer(response, JSON.parse(sent)));
      case "POST /auth/return":
        return void request.on("end", () => {
          state.returnedWith = JSON.parse(sent);
          if (Array.isArray(state.returned)) return problem(response, ...state.returned);
          Object.assign(state, state.returned);
          json(response, 200, snapshot());
          for (const login of logins) event(login, state.status, snapshot(), isFinal());
        });
      case `GET /auth/stream/${ID}`:
        if (!state.known) return problem(response, 404, "challenge_not_found");
        if (request.headers["last-event-id"] === "final") return response.writeHead(204).end();
        stream(response, logins);
        return event(response, "snapshot", snapshot(), isFinal());
      case `GET /auth/status/${ID}`:
        if (state.statusRefused) return problem(response, ...state.statusRefused);
        if (!state.known) return problem(response, 404, "challenge_not_found");
        return json(response, 200, snapshot());
      case `POST /auth/complete/${ID}`:
        if (state.complete.status === 200 && state.asked) {
          if (!state.session) return problem(response, 401, "not_authenticated");
          if (state.status !== "active") return problem(response, 409, "not_active_yet");
          state.steppedUp = true;
          state.session = { ...state.session, stepped_up_until: inMs(300_000) };
          return json(response, 200, state.session);
        }
        if (state.complete.status === 200) {
          state.session ??= session();
          return json(response, 200, state.session);
        }
        return problem(response, state.complete.status, state.complete.code);
      case `POST /auth/cancel/${ID}`:
        return response.writeHead(204).end();
      case "POST /auth/logout":
        if (state.logout.status !== 204) return problem(response, state.logout.status, "busy");
        state.session = null;
        return response.writeHead(204).end();
      default:
        return problem(response, 404, "not_found");
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    state,
    set: (more) => Object.assign(state, more),
    /** Resolves once somebody listens to the fate of a request. */
    async loginOpened() {
      while (logins.size === 0) await new Promise((go) => setTimeout(go, 5));
    },
    /** Resolves once somebody listens; events before that would be told by a snapshot only. */
    async streamOpened() {
      while (logins.size + sessions.size === 0) await new Promise((go) => setTimeout(go, 5));
    },
    /** The wallet, or time, answered. */
    tell(status, reason, more = {}) {
      Object.assign(state, { status, reason, ...more });
      for (const response of logins) event(response, status, snapshot(), isFinal());
    },
    /** A wallet took the link. */
    claim() {
      state.claimed = true;
      for (const response of logins) event(response, "claimed", snapshot(), false);
    },
    forceLogout(reason, at) {
      state.session = null;
      for (const response of sessions) event(response, "force_logout", { reason, at });
    },
    /** Ends every stream without a word, as a restart does. */
    hangUp() {
      for (const response of [...logins, ...sessions]) response.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(resolve);
      }),
  };
}
