import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";
import about from "./package.json" with { type: "json" };

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// One seam: `#bridge` is the shell's in what is shipped, and a play of it (tests/mock) under
// `--mode mock`, for pictures, behaviours and `npm run dev`. Nothing of the play is in dist/.
export default defineConfig(({ mode }) => ({
  plugins: [svelte()],
  define: { __VERSION__: JSON.stringify(about.version) },
  resolve: {
    alias: {
      "#bridge": here(mode === "mock" ? "tests/mock/bridge.ts" : "src/lib/tauri.ts"),
      "#shared": here("../../frontend/src"),
    },
    // The parts that the login page lends import `svelte` from their own folder; there is one here.
    dedupe: ["svelte"],
    ...(process.env["VITEST"] ? { conditions: ["browser"] } : {}),
  },
  build: {
    outDir: mode === "mock" ? "pictures/.app" : "dist",
    // The window's policy is `script-src 'self'; style-src 'self'` without exceptions, so nothing may
    // end up inline: neither the preload polyfill nor a small file turned into a data: address.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: {
    host: "127.0.0.1",
    fs: { allow: [here("."), here("../../frontend/src")] },
  },
  test: { include: ["src/**/*.test.ts"] },
}));
