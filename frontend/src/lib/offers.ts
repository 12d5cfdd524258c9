// Which ways of signing in the service offers, and what there is to do behind them.

/** The ways of signing in that a page shows. */
export interface Offers {
  linked: boolean;
  addressed: boolean;
}

export function offersFrom(binding: string | undefined): Offers {
  return { linked: binding !== "addressed", addressed: binding !== "linked" };
}

const meta = (name: string): string | undefined =>
  typeof document === "undefined"
    ? undefined
    : document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content;

/** How people may sign in here, as the service says in the page's head; both ways where it says nothing. */
export const offers: Offers = offersFrom(meta("miid-binding"));

/** Whether there is a balance, and something to send. */
export const offersTransfer: boolean = meta("miid-transfer") === "on";
