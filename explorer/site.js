// The explorer on the site: <latent-explorer name="03_vae/plane" spec model>, where the last two are
// addresses, as are data-engine and data-runtime of the script.
// What it needs lies in files of its own, fetched once it comes into view. The first of a page does
// not wait for that where it is marked `eager`, or where a page before has fetched the runtime.
import { wrap } from "comlink";
import { fill } from "./tag.js";

const address = (name) => new URL(name, document.baseURI).href;
const [program, runtime] = ["engine", "runtime"].map((name) => address(document.currentScript.dataset[name]));

const fetched = {
  get before() {
    try { return sessionStorage.getItem("lecture runtime") === runtime; } catch { return false; }
  },
  remember() {
    try { sessionStorage.setItem("lecture runtime", runtime); } catch { /* the reader allows none */ }
  },
};

/** The models of the page run in its worker; see engine.js. */
function start() {
  const worker = new Worker(program);
  const failed = new Promise((_, reject) => {
    worker.onerror = () => {
      engine = null;
      reject(new Error(`${program} did not start`));
    };
  });
  failed.catch(() => {});
  const { prepare, open } = wrap(worker);
  if (fetched.before) prepare(runtime);
  return (model) => Promise.race([open(runtime, model), failed]);
}

let engine = start();

async function begin(element) {
  watch.unobserve(element);
  if (element.begun) return;
  element.begun = true;
  engine ??= start();
  const model = engine(address(element.getAttribute("model")));
  model.then(fetched.remember, () => {});
  try {
    const answer = await fetch(element.getAttribute("spec"));
    if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}`);
    fill(element, await answer.json(), () => model);
  } catch (error) {
    element.append("The sliders could not be loaded. Load this page again. ", error.message);
  }
}

const watch = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) if (isIntersecting) begin(target);
}, { rootMargin: "25% 0px" });

customElements.define("latent-explorer", class extends HTMLElement {
  connectedCallback() {
    const first = this === document.querySelector("latent-explorer");
    if (this.hasAttribute("eager") || (first && fetched.before)) begin(this);
    else watch.observe(this);
  }
});
