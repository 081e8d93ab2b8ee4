// Bundle the explorer: build/explorer/element.js (slides and pages, the runtime inside),
// build/explorer/widget.js (notebooks), build/explorer/site/ (pages that fetch what they need) and
// build/explorer/ort.wasm.gz (the runtime alone).
import { build } from "esbuild";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { gzipSync } from "node:zlib";

const here = path.dirname(fileURLToPath(import.meta.url));
const out = path.join(here, "..", "build", "explorer");
const runtime = path.join(here, "../node_modules/onnxruntime-web");
const wasm = path.join(runtime, "dist/ort-wasm-simd-threaded.wasm");
const { version } = JSON.parse(await readFile(path.join(runtime, "package.json"), "utf8"));

await mkdir(out, { recursive: true });
await writeFile(path.join(out, "ort.wasm.gz"), gzipSync(await readFile(wasm), { level: 9 }));

const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  target: "es2022",
  loader: { ".css": "text", ".gz": "base64" },
  logLevel: "warning",
  define: {
    // The runtime is given its WebAssembly, so it needs no address. With one it takes the page's
    // origin as a base, and Firefox has none for a file.
    "import.meta.url": "undefined",
    RUNTIME_VERSION: JSON.stringify(version),
  },
};
await build({
  ...common,
  entryPoints: ["element.js"],
  format: "iife",
  outfile: path.join(out, "element.js"),
});
await build({
  ...common,
  entryPoints: ["widget.js"],
  format: "esm",
  outfile: path.join(out, "widget.js"),
});
await build({
  ...common,
  entryPoints: ["site.js", "engine.js"],
  format: "iife",
  outdir: path.join(out, "site"),
});
