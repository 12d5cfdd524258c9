// Which ways of signing in the service offers.

/** The ways of signing in that a page shows. */
export interface Offers {
  linked: boolean;
  addressed: boolean;
}

export function offersFrom(binding: string | undefined): Offers {
  return { linked: binding !== "addressed", addressed: binding !== "linked" };
}

/** How people may sign in here, as the service says in the page's head; both ways where it says nothing. */
export const offers: Offers = offersFrom(
  typeof document === "undefined"
    ? undefined
    : document.querySelector<HTMLMetaElement>('meta[name="miid-binding"]')?.content,
);
