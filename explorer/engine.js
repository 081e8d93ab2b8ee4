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

function unpack(packed) {
  wasm = packed.then(({ body }) => new Response(new XzReadableStream(body)).arrayBuffer());
  wasm.catch(() => { wasm = null; });
}

/** Whether the runtime is here from a page before; it is unpacked then. */
async function kept(runtime) {
  const answer = await fetch(runtime, { cache: "only-if-cached", mode: "same-origin" });
  if (answer.ok && !wasm) unpack(Promise.resolve(answer));
  return answer.ok;
}

/** A model, see runtime.js, from the addresses of the runtime and of the model. */
async function open(runtime, model) {
  if (!wasm) unpack(get(runtime));
  const onnx = await gunzip(await (await get(model)).arrayBuffer());
  return proxy(await openModel(() => wasm, new Uint8Array(onnx)));
}

expose({ kept, open });
