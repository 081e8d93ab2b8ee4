// Beside a page of the site, as a worker: it fetches the runtime, which xz has packed, and runs the
// models of the page, which stays smooth meanwhile.
import { expose, proxy } from "comlink";
import { XzReadableStream } from "xz-decompress";
import { gunzip, openModel } from "./runtime.js";

async function get(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer;
}

let wasm = null; // on its way

/** Fetch and unpack the runtime. */
function prepare(runtime) {
  wasm ??= get(runtime).then(({ body }) => new Response(new XzReadableStream(body)).arrayBuffer());
  wasm.catch(() => { wasm = null; });
}

/** A model, see runtime.js, from the addresses of the runtime and of the model. */
async function open(runtime, model) {
  prepare(runtime);
  const onnx = await gunzip(await (await get(model)).arrayBuffer());
  return proxy(await openModel(() => wasm, new Uint8Array(onnx)));
}

expose({ prepare, open });
