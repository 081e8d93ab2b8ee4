// The explorer on the site: <latent-explorer name="03_vae/plane" spec model unpack runtime>, where
// the last four are addresses.
// What it needs lies in files of its own, fetched once it comes into view.

async function get(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer;
}

/** The bytes of the runtime, unpacked by a worker. */
function unpacked(worker, runtime) {
  return new Promise((resolve, reject) => {
    const work = new Worker(worker);
    work.onmessage = ({ data: { bytes, error } }) => {
      work.terminate();
      if (bytes) resolve(bytes);
      else reject(new Error(error));
    };
    work.onerror = () => reject(new Error(`${worker} did not start`));
    work.postMessage(String(runtime));
  });
}

let runtime = null; // that of the page, on its way

async function begin(element) {
  const file = (name) => new URL(element.getAttribute(name), document.baseURI);
  runtime ??= unpacked(file("unpack"), file("runtime"));
  runtime.catch(() => { runtime = null; });
  const model = get(file("model")).then((answer) => answer.arrayBuffer());
  const [{ fill, gunzip, loadRuntime }, spec] = await Promise.all([
    import("./parts.js"),
    get(file("spec")).then((answer) => answer.json()),
  ]);
  fill(element, spec, async () => ({
    ort: await loadRuntime(() => runtime),
    model: new Uint8Array(await gunzip(await model)),
  }));
}

const watch = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    watch.unobserve(target);
    begin(target).catch((error) => {
      target.append("The sliders could not be loaded. Load this page again. ", error.message);
    });
  }
}, { rootMargin: "25% 0px" });

customElements.define("latent-explorer", class extends HTMLElement {
  connectedCallback() {
    if (!this.explorer) watch.observe(this);
  }
});
