/** Where in the window the person is. */
export type Place =
  { at: "requests" } | { at: "sessions" } | { at: "history" } | { at: "settings"; sub?: Sub };

export type Sub =
  | { at: "identity"; name: string }
  | { at: "sheet"; name: string }
  | { at: "profile"; name: string }
  | { at: "quiet" }
  | { at: "about" };

/** The tabs, in their order. */
export const PLACES = ["requests", "sessions", "history", "settings"] as const;
