// The explorer on the site: <latent-explorer name="03_vae/plane" spec model engine runtime>, where
// the last four are addresses.
// What it needs lies in files of its own, fetched once it comes into view.
import { wrap } from "comlink";
import { fill } from "./tag.js";

let open = null; // opens a model in the worker of the page

function start(address) {
  const worker = new Worker(address);
  const failed = new Promise((_, reject) => {
    worker.onerror = () => {
      open = null;
      reject(new Error(`${address} did not start`));
    };
  });
  const engine = wrap(worker);
  return (...addresses) => Promise.race([engine(...addresses), failed]);
}

async function begin(element) {
  const file = (name) => new URL(element.getAttribute(name), document.baseURI).href;
  open ??= start(file("engine"));
  const model = open(file("runtime"), file("model"));
  model.catch(() => {});
  const answer = await fetch(file("spec"));
  if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}`);
  fill(element, await answer.json(), () => model);
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
