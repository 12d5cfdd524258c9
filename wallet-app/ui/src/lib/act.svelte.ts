import { faultOf } from "./bridge";
import type { Fault } from "./types";

/** One thing that a person can set going: it runs once at a time, and says why it failed. */
export class Act {
  busy = $state(false);
  fault = $state.raw<Fault | null>(null);

  /** True where it worked; while it runs, a second press does nothing. */
  async run(work: () => Promise<unknown>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.fault = null;
    try {
      await work();
      return true;
    } catch (thrown) {
      this.fault = faultOf(thrown);
      return false;
    } finally {
      this.busy = false;
    }
  }
}
