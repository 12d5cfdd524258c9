// What crosses the bridge between window and core, in the core's own names: generated from it. Only
// what the page knows better stands here.

import type { FaultCode as KnownCode } from "../gen/wallet";

export type * from "../gen/wallet";

/** A later core may have codes that this page has no words for. */
export interface Fault {
  code: KnownCode | (string & {});
  /** English, for such a code. */
  message: string;
  hint: string | null;
}

/** The shell asks the page to go somewhere. */
export interface Show {
  page: string;
  challenge_id?: string;
}
