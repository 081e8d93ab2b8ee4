// onnxruntime-web on one thread, its WebAssembly given as bytes.
import * as ort from "onnxruntime-web/wasm";

/* global RUNTIME_VERSION */

// Every widget of a notebook brings this module anew; the runtime is that of the page.
const page = (globalThis[Symbol.for(`lecture runtime ${RUNTIME_VERSION}`)] ??= {
  ready: null,
  last: Promise.resolve(),
});

export async function gunzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** Load the runtime once for the whole page; `wasm` returns its bytes. */
function loadRuntime(wasm) {
  page.ready ??= (async () => {
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = "error";
    ort.env.wasm.wasmBinary = await wasm();
    return ort;
  })();
  page.ready.catch(() => { page.ready = null; });
  return page.ready;
}

/** One thing at a time: the runtime is shared by all explorers of a page, and not re-entrant. */
function inTurn(work) {
  const mine = page.last.then(work);
  page.last = mine.catch(() => {});
  return mine;
}

/** A model that can be run; `wasm` returns the bytes of the runtime, `onnx` are those of the model. */
export async function openModel(wasm, onnx) {
  const ort = await loadRuntime(wasm);
  const session = await inTurn(() =>
    ort.InferenceSession.create(onnx, { executionProviders: ["wasm"] }));
  return {
    /** { output: { dims, data } } for the values of the controls. */
    async run(values) {
      const u = new ort.Tensor("float32", Float32Array.from(values), [1, values.length]);
      const outputs = Object.entries(await inTurn(() => session.run({ u })));
      return Object.fromEntries(outputs.map(([name, { dims, data }]) => [name, { dims, data }]));
    },
    release: () => inTurn(() => session.release()),
  };
}

export function bytesFromBase64(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
