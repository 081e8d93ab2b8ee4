// Bundle the explorer: build/explorer/element.js (slides and pages, the runtime inside),
// build/explorer/widget.js (notebooks) and build/explorer/ort.wasm.gz (the runtime alone).
import { build } from "esbuild";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { gzipSync } from "node:zlib";

const here = path.dirname(fileURLToPath(import.meta.url));
const out = path.join(here, "..", "build", "explorer");
const wasm = path.join(here, "../node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm");

await mkdir(out, { recursive: true });
await writeFile(path.join(out, "ort.wasm.gz"), gzipSync(await readFile(wasm), { level: 9 }));

const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  target: "es2022",
  loader: { ".css": "text", ".gz": "base64" },
  logLevel: "warning",
};
await build({
  ...common,
  entryPoints: ["element.js"],
  format: "iife",
  define: { "import.meta.url": "document.baseURI" },
  outfile: path.join(out, "element.js"),
});
await build({
  ...common,
  entryPoints: ["widget.js"],
  format: "esm",
  define: { "import.meta.url": "document.baseURI" },
  outfile: path.join(out, "widget.js"),
});
