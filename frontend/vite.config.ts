import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [svelte()],
  build: {
    // The service sends `script-src 'self'; style-src 'self'` without exceptions, so nothing may end
    // up inline: neither the preload polyfill nor a small file turned into a data: address.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: {
    // `npm run dev` beside a running service. The service compares Origin and Host with its own
    // public URL, so start it with `--public-url http://127.0.0.1:5173` for this.
    host: "127.0.0.1",
    proxy: {
      "/auth": {
        target: "http://127.0.0.1:15000",
        // Where the wallet sends the browser: this page, which then asks, since nobody told it not to.
        bypass: ({ method, url }) =>
          method === "GET" && url === "/auth/return" ? "/index.html" : undefined,
      },
      "/session": "http://127.0.0.1:15000",
    },
  },
});
