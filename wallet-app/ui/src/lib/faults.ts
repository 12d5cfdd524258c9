// Why a command failed. Every code has words in every language, or does not compile.

import type { Fault, FaultCode } from "./types";
import type { Words } from "./words";

export type { FaultCode };

export const FAULT_CODES = [
  "wrong_passphrase",
  "passphrase_too_short",
  "vault_damaged",
  "vault_newer",
  "vault_exists",
  "locked",
  "keychain_unavailable",
  "disk_full",
  "disk",
  "bad_name",
  "name_taken",
  "bad_gateway",
  "gateway_unreachable",
  "handle_taken",
  "bad_handle",
  "wrong_words",
  "unknown_request",
  "unknown_session",
  "number_missing",
  "wrong_number",
  "bad_value",
  "not_ours",
  "bad_link",
  "already_claimed",
  "other_identity",
  "did_retired",
  "rate_limited",
  "unanswered",
  "refused",
  "too_late",
  "internal",
] as const satisfies readonly FaultCode[];

/** What to tell: our words for a code that we know, the core's English for one that came later. */
export function faultWords(fault: Fault, words: Words): string {
  const known: Record<string, string> = words.faults;
  if (Object.hasOwn(known, fault.code)) return known[fault.code]!;
  const said = [fault.message, fault.hint].filter(Boolean).join(" ");
  return said || words.faults.internal;
}
