// The shell's end of the bridge.

import { invoke } from "@tauri-apps/api/core";
import { listen } from "@tauri-apps/api/event";
import type { Bridge } from "./bridge";

export const bridge: Bridge = {
  call: (command, ...args) => invoke(command, args[0] as Record<string, unknown> | undefined),
  on: (event, hear) => listen(event, ({ payload }) => hear(payload as never)),
};
