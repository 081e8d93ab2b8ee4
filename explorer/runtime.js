// onnxruntime-web on one thread, its WebAssembly given as gzipped bytes.
import * as ort from "onnxruntime-web/wasm";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

let ready;

async function gunzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** Load the runtime once for the whole page; `wasm` returns the gzipped bytes. */
export function loadRuntime(wasm) {
  ready ??= (async () => {
    ort.env.wasm.wasmBinary = await gunzip(await wasm());
    return ort;
  })();
  ready.catch(() => { ready = undefined; });
  return ready;
}

let last = Promise.resolve();

/** One thing at a time: the runtime is shared by all explorers of a page, and not re-entrant. */
export function inTurn(work) {
  const mine = last.then(work);
  last = mine.catch(() => {});
  return mine;
}

export function bytesFromBase64(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
