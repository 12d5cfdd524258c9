// What the window knows: the View that the core pushed last, and what the person is in the middle of.
// A new View replaces the first and leaves the second alone.

import { getContext, setContext } from "svelte";
import type { Bridge } from "./bridge";
import { newDraft, proposed, type Draft } from "./draft";
import { arrived, calling, cardOf, chooseOpen, isMuted, isStepUp } from "./queue";
import { PLACES, type Place } from "./places";
import type { Claimed, Identity, Notice, Request, Show, View } from "./types";
import { localeTag, pickLanguage, WORDS } from "./words";

/** A card that has just appeared takes no decision: the press was meant for what stood there before. */
export const SETTLE_MS = 500;

/** How often the core is told at most that the person is there. */
const TOUCH_MS = 10_000;

export interface Toast {
  id: number;
  notice: Notice;
}

/** What the window and the computer say, so that tests can say something else. */
export interface Surroundings {
  languages: readonly string[];
  now: () => number;
  /** Whether anybody could be looking at the window. */
  visible: () => boolean;
  /** Whether the person is typing into something, now or a moment ago. */
  typing: () => boolean;
}

export class Desk {
  readonly bridge: Bridge;
  readonly #around: Surroundings;

  view = $state.raw<View | null>(null);
  place = $state.raw<Place>({ at: "requests" });
  /** The opened link that asks "Continue?" on the page. */
  link = $state<string | null>(null);
  /** The open card (see `cardOf`). */
  open = $state<string | null>(null);
  settling = $state(false);
  drafts = $state<Record<string, Draft>>({});
  toasts = $state.raw<Toast[]>([]);
  spoken = $state("");
  /** The identity whose sessions and history are shown; null is everybody's. */
  filter = $state<string | null>(null);
  /** Somebody is making an identity: it is not over when the vault exists. */
  settingUp = $state<"first" | "another" | null>(null);
  /** The page holds something that is lost when it is left. A card's draft is not: it is kept here. */
  halfFilled = false;
  /** Whose recovery sheet this run reminds of no more. */
  #sheetsPutOff = $state.raw<readonly string[]>([]);
  /** Counts up when the focus has to follow a change of page. */
  moved = $state(0);
  now = $state(0);

  readonly language = $derived(
    pickLanguage(this.view?.settings.language ?? "system", this.languages),
  );
  readonly words = $derived(WORDS[this.language]);
  readonly locale = $derived(localeTag(this.languages, this.language));
  readonly openRequest = $derived(
    this.view?.requests.find((request) => cardOf(request) === this.open) ?? null,
  );
  /** Who has shown no recovery sheet yet, and is to be reminded of it. */
  readonly withoutSheet = $derived(
    (this.view?.identities ?? []).find(
      ({ did, retired_at, sheet_kept }) =>
        !sheet_kept && retired_at === null && !this.#sheetsPutOff.includes(did),
    ) ?? null,
  );
  /** What the bar above the tabs announces, newest first. */
  readonly calling = $derived(
    calling(
      this.view?.requests ?? [],
      this.view?.mutes ?? [],
      this.place.at === "requests" ? { open: this.open } : null,
    ),
  );
  readonly waiting = $derived(
    (this.view?.requests ?? []).filter(({ standing }) => standing === "pending").length,
  );

  #deadlines = new Map<string, { at: number; total: number }>();
  #settled: ReturnType<typeof setTimeout> | undefined;
  #toasted = 0;
  #toldAt = -Infinity;
  #wanted: Claimed | null = null;

  constructor(bridge: Bridge, around: Surroundings) {
    this.bridge = bridge;
    this.#around = around;
    this.now = around.now();
  }

  get languages(): readonly string[] {
    return this.#around?.languages ?? [];
  }

  /** Listens first and asks then, so that nothing falls in between. */
  async start(): Promise<void> {
    await Promise.all([
      this.bridge.on("view", (view) => this.receive(view)),
      this.bridge.on("notice", (notice) => this.hear(notice)),
      this.bridge.on("show", (show) => this.come(show)),
    ]);
    const view = await this.bridge.call("view");
    // A pushed one is newer than the answer to what was asked before it.
    if (this.view === null) this.receive(view);
  }

  /** The person does something: the core counts the time until it locks from here. */
  touch(): void {
    const now = this.#around.now();
    if (this.view?.stage !== "open" || Math.abs(now - this.#toldAt) < TOUCH_MS) return;
    this.#toldAt = now;
    void this.bridge.call("touch").catch(() => undefined);
  }

  /** Relative times move on. */
  tick(): void {
    this.now = this.#around.now();
  }

  receive(view: View): void {
    const before = this.view;
    this.view = view;
    this.tick();
    if (view.stage !== "open") this.#forget(view, before);
    // An identity that is gone hides nobody else's sessions.
    if (this.filter !== null && !this.identity(this.filter)) this.filter = null;
    if (view.stage === "first_run") this.settingUp ??= "first";
    // What was being made is not gone on with over a wallet that turned out to be damaged: that is said first.
    if (view.stage === "damaged" && before?.stage !== "damaged") this.settingUp = null;
    this.#keepTime(view);
    this.#meetLinks(view);
    this.#turnCard(before);
    this.#reconcile();
    const stageIsOld = before?.stage === view.stage;
    if (before !== null && stageIsOld && view.stage === "open")
      this.#announce(arrived(before.requests, view.requests));
    if (!stageIsOld) this.moved++;
  }

  /** A link that was opened takes the page, unless it is in use: then it waits in a bar. */
  #meetLinks({ stage, links }: View): void {
    if (this.link !== null && !links.some(({ id }) => id === this.link)) {
      this.link = null;
      this.moved++;
      // What stands there now must not take the second of two presses on the link's page.
      this.#settle();
    }
    const filling = this.place.at === "requests" && this.#touched();
    if (stage === "open" && this.link === null && links[0] && !filling && !this.#inUse())
      this.showLink(links[0].id);
  }

  /** What they type, copy to paper or have half filled in: nobody but the person leads away from it. */
  #inUse(): boolean {
    const within = this.place.at === "settings" && this.place.sub !== undefined;
    return within || this.halfFilled || this.#around.typing();
  }

  /** Whether something was typed or changed on the open card. */
  #touched(): boolean {
    return this.open !== null && (this.drafts[this.open]?.touched ?? false);
  }

  showLink(id: string): void {
    this.link = id;
    this.moved++;
    this.#settle();
  }

  /** The open card was approved, or taken back, or its text is another: a new card, in the same place. */
  #turnCard(before: View | null): void {
    const was = before?.requests.find((request) => cardOf(request) === this.open);
    const request = this.view?.requests.find(
      ({ wallet, challenge_id }) => wallet === was?.wallet && challenge_id === was?.challenge_id,
    );
    if (!was || !request) return;
    const card = cardOf(request);
    if (card === this.open && was.standing === request.standing) return;
    // A number that was used is typed again, so that nothing is approved by a second press.
    delete this.drafts[card];
    this.openCard(card);
    if (this.#seesCard()) this.moved++;
  }

  /** Nothing that was typed outlives the lock, nor what was said of services and people. */
  #forget(view: View, before: View | null): void {
    if (before?.stage === "open") {
      this.toasts = [];
      this.spoken = "";
    }
    this.drafts = {};
    this.open = null;
    this.#wanted = null;
    this.link = null;
    this.filter = null;
    this.place = { at: "requests" };
    if (view.stage === "locked") this.settingUp = null;
  }

  #keepTime(view: View): void {
    const live = new Set(view.requests.map(cardOf));
    for (const card of this.#deadlines.keys()) if (!live.has(card)) this.#deadlines.delete(card);
    for (const card of Object.keys(this.drafts)) if (!live.has(card)) delete this.drafts[card];
    for (const request of view.requests) {
      const at = this.now + request.expires_in_ms;
      const kept = this.#deadlines.get(cardOf(request));
      // The same moment, told again, comes out a little different; the ring must not twitch.
      if (kept && Math.abs(kept.at - at) < 1_500) continue;
      const age = this.now - Date.parse(request.created_at);
      const total = request.expires_in_ms + (age > 0 && age < 600_000 ? age : 0);
      this.#deadlines.set(cardOf(request), { at, total });
    }
  }

  /** When a request can no longer be answered, and how long it could be from its beginning. */
  deadline(request: Request): { at: number; total: number } {
    return this.#deadlines.get(cardOf(request)) ?? { at: this.now, total: 1 };
  }

  #reconcile(): void {
    const requests = this.view?.stage === "open" ? this.view.requests : [];
    const wanted = requests.find(
      ({ wallet, challenge_id }) =>
        wallet === this.#wanted?.wallet && challenge_id === this.#wanted.challenge_id,
    );
    const next = wanted
      ? cardOf(wanted)
      : chooseOpen(
          requests,
          { open: this.open, seen: this.#seesCard(), touched: this.#touched() },
          this.view?.mutes,
        );
    if (next !== this.open) this.openCard(next);
  }

  #seesCard(): boolean {
    return (
      this.view?.stage === "open" &&
      this.settingUp === null &&
      this.link === null &&
      this.place.at === "requests" &&
      this.#around.visible()
    );
  }

  /** Opens a request that the person has just let in, now or as soon as the core lists it. */
  want(claimed: Claimed): void {
    this.#wanted = claimed;
    this.go({ at: "requests" });
  }

  openCard(card: string | null): void {
    this.open = card;
    this.#wanted = null;
    const request = this.openRequest;
    if (!request) return;
    this.#settle();
    if (request.standing === "pending") void this.#prepare(request);
  }

  /** The window has come before somebody's eyes: a press that was under way was meant for what it covers. */
  appear(): void {
    // And what they do next is news to the core.
    this.#toldAt = -Infinity;
    this.#settle();
  }

  #settle(): void {
    this.settling = true;
    clearTimeout(this.#settled);
    this.#settled = setTimeout(() => (this.settling = false), SETTLE_MS);
  }

  async #prepare(request: Request): Promise<void> {
    const card = cardOf(request);
    if (this.drafts[card]?.claims) return;
    this.drafts[card] ??= newDraft(request);
    const draft = this.drafts[card];
    const { wallet, challenge_id } = request;
    // Without a proposal the person fills in what they want to share.
    const none = { claims: [], known_service: false };
    const proposal = await this.bridge.call("proposal", { wallet, challenge_id }).catch(() => none);
    // Another draft has been begun since, or none is needed any more.
    if (this.drafts[card] !== draft || draft.claims !== null) return;
    draft.claims = proposed(request, proposal);
    draft.knownService = proposal.known_service;
  }

  /** Goes to the newest request that the bar announces. */
  showCalling(): void {
    const [newest] = this.calling;
    if (!newest) return;
    this.go({ at: "requests" });
    this.openCard(cardOf(newest));
  }

  #announce(requests: Request[]): void {
    const newest = requests.find((request) => !isMuted(request, this.view?.mutes ?? []));
    if (!newest) return;
    const { arrived, arrivedAgain } = this.words.requests;
    this.say((isStepUp(newest) ? arrivedAgain : arrived)(newest.service.name));
  }

  /** Goes to a page, which takes no press at first. */
  go(place: Place): void {
    this.place = place;
    this.moved++;
    this.#settle();
    this.#reconcile();
  }

  /** A tab was pressed: the focus stays on it, as the pattern wants. */
  goTab(at: Place["at"]): void {
    this.place = { at };
    this.#reconcile();
  }

  /** The shell asks for a page: from its menu, a notification, or since somebody asks. */
  come({ page, challenge_id }: Show): void {
    if (this.view?.stage !== "open" || this.settingUp !== null) return;
    // The tab's count and the bar say that somebody asks.
    if (this.#inUse()) return;
    const at = PLACES.find((known) => known === page);
    const sawCard = this.#seesCard();
    if (at && at !== this.place.at) this.go({ at });
    const asked = this.view.requests.find((request) => request.challenge_id === challenge_id);
    if (asked && !sawCard && !this.#touched()) this.openCard(cardOf(asked));
  }

  hear(notice: Notice): void {
    // What was on its way when it locked: nobody is named on a locked window.
    const names = notice.service !== undefined || notice.identity !== undefined;
    if (names && this.view?.stage === "locked") return;
    // Whoever ended a session on the page of sessions sees there that it ended.
    const seen = notice.kind === "session_ended" && notice.reason === "user";
    if (seen && this.place.at === "sessions") return;
    const toast = { id: ++this.#toasted, notice };
    this.toasts = [...this.toasts.slice(-2), toast];
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
  }

  /** Says something aloud, to those who listen. The same sentence twice has to differ. */
  say(text: string): void {
    this.spoken = text === this.spoken ? `${text}\u00a0` : text;
  }

  /** No word of this sheet until the next start. */
  putOffSheet(did: string): void {
    this.#sheetsPutOff = [...this.#sheetsPutOff, did];
  }

  identity(key: string): Identity | null {
    return this.view?.identities.find(({ name, did }) => name === key || did === key) ?? null;
  }

  /** How an identity is called; several are told apart by it. */
  nameOf(key: string): string {
    return this.identity(key)?.name ?? key;
  }

  get several(): boolean {
    return (this.view?.identities.length ?? 0) > 1;
  }

  /** Whether something belongs to what the header's switch shows. */
  shows(identity: string): boolean {
    return this.filter === null || this.nameOf(identity) === this.filter;
  }

  /** The clipboard, by the shell where the page's own is closed. */
  async copy(text: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      await this.bridge.call("copy", { text });
    }
  }
}

const KEY = Symbol("desk");
export const provideDesk = (desk: Desk): Desk => setContext(KEY, desk);
export const useDesk = (): Desk => getContext<Desk>(KEY);
