import type {
  LoginStatus,
  Problem,
  ReturnRequest,
  SessionInfo,
  StartRequest,
  StartResponse,
} from "../gen/protocol";
import { learn } from "./clock";

/** Longer than any answer takes; a request that hangs must turn into something the page can say. */
const PATIENCE_MS = 15_000;

/** The service understood and said no. */
export interface Refused {
  kind: "refused";
  status: number;
  code: string;
  retryAfterMs: number | null;
  problem: Problem | null;
}

/** Nobody answered, or whoever did could not reach what it needs: worth trying again. */
export interface Unreachable {
  kind: "unreachable";
  offline: boolean;
  retryAfterMs: number | null;
  /** What was answered, where something was: what was asked may have been done all the same. */
  status?: number;
}

/** Sent, and what is left. */
export interface Transferred {
  transferred: { to: string; amount: number; at: string; id: string };
  balance?: number;
}

/** A 401 of a transfer that wants the person's yes first. */
interface StepUpRequired {
  step_up?: StartResponse;
}

export type Answer<T> = { kind: "ok"; body: T } | Refused | Unreachable;

export const api = {
  session: (signal?: AbortSignal) => ask<SessionInfo>("GET", "/session", { signal }),
  start: (request: StartRequest, signal?: AbortSignal) =>
    ask<StartResponse>("POST", "/auth/start", { body: request, signal }),
  status: (id: string, signal?: AbortSignal) =>
    ask<LoginStatus>("GET", `/auth/status/${encodeURIComponent(id)}`, { signal }),
  returned: (request: ReturnRequest, signal?: AbortSignal) =>
    ask<LoginStatus>("POST", "/auth/return", { body: request, signal }),
  complete: (id: string, signal?: AbortSignal) =>
    ask<SessionInfo>("POST", `/auth/complete/${encodeURIComponent(id)}`, { signal }),
  /** Outlives the page, so that closing the tab right after "Cancel" still withdraws the request. */
  cancel: (id: string) =>
    ask<unknown>("POST", `/auth/cancel/${encodeURIComponent(id)}`, {
      ignoreBody: true,
      keepalive: true,
    }),
  balance: (signal?: AbortSignal) => ask<{ balance: number }>("GET", "/demo/balance", { signal }),
  /** Never called off: whether it arrived would not be known. */
  transfer: (order: { to: string; amount: number }) =>
    ask<Transferred>("POST", "/demo/transfer", { body: order }),
  logout: () => ask<unknown>("POST", "/auth/logout", { ignoreBody: true, keepalive: true }),
};

export type Api = typeof api;

interface Options {
  body?: unknown;
  signal?: AbortSignal | undefined;
  keepalive?: boolean;
  ignoreBody?: boolean;
}

async function ask<T>(method: string, path: string, options: Options): Promise<Answer<T>> {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const asked = Date.now();
  try {
    const response = await fetch(path, {
      method,
      cache: "no-store",
      redirect: "error",
      keepalive: options.keepalive ?? false,
      signal: options.signal ? AbortSignal.any([options.signal, patience]) : patience,
      headers: {
        accept: "application/json, application/problem+json",
        ...(options.body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    });
    learn(response.headers.get("date"), asked, Date.now());
    if (!response.ok) return await failure(response, Date.now());
    if (options.ignoreBody) {
      // Read to its end all the same: a request that is left half read shows as cancelled.
      await response.arrayBuffer().catch(() => undefined);
      return { kind: "ok", body: undefined as T };
    }
    return { kind: "ok", body: (await response.json()) as T };
  } catch {
    // A refused connection, a broken answer, a proxy's page that is no JSON: for the person all of
    // them are one thing. A caller that gave up itself does not look at the answer.
    return unreachable(null);
  }
}

/** What an answer outside 2xx means. A 5xx is nobody's decision, so it is never `refused`. */
export async function failure(response: Response, nowMs: number): Promise<Refused | Unreachable> {
  const retryAfterMs = retryAfter(response.headers.get("retry-after"), nowMs);
  if (response.status >= 500)
    return { ...unreachable(retryAfterMs), offline: false, status: response.status };
  const problem = await readProblem(response);
  return {
    kind: "refused",
    status: response.status,
    code: problem?.code ?? "",
    retryAfterMs,
    problem,
  };
}

/** The request that the service began for a transfer, where its refusal carries one. */
export function stepUpIn({ code, problem }: Refused): StartResponse | null {
  const asked = code === "step_up_required" ? (problem as StepUpRequired | null)?.step_up : null;
  return typeof asked?.challenge_id === "string" ? asked : null;
}

async function readProblem(response: Response): Promise<Problem | null> {
  try {
    const body: unknown = await response.json();
    const named = typeof body === "object" && body !== null && "code" in body;
    return named && typeof body.code === "string" ? (body as Problem) : null;
  } catch {
    return null;
  }
}

/** `Retry-After` in milliseconds: seconds or a date (RFC 9110, section 10.2.3). */
export function retryAfter(value: string | null, nowMs: number): number | null {
  if (value === null) return null;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
}

function unreachable(retryAfterMs: number | null): Unreachable {
  const offline = typeof navigator !== "undefined" && navigator.onLine === false;
  return { kind: "unreachable", offline, retryAfterMs };
}
