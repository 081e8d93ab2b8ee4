// The explorer on a slide or a static page: <latent-explorer name="03_vae/plane">.
// The page carries each spec as <script type="application/json" data-explorer="NAME">.
import wasm from "../build/explorer/ort.wasm.gz";
import { Explorer } from "./core.js";
import { bytesFromBase64, loadRuntime } from "./runtime.js";

class LatentExplorer extends HTMLElement {
  connectedCallback() {
    if (this.explorer) return;
    const name = this.getAttribute("name");
    const source = document.querySelector(`script[data-explorer="${name}"]`);
    const spec = JSON.parse(source.textContent);
    this.explorer = new Explorer(this, spec, {
      channel: `lecture:${location.pathname}:${name}`,
      fill: Boolean(this.closest("section")),
      load: async () => ({
        ort: await loadRuntime(() => bytesFromBase64(wasm)),
        model: bytesFromBase64(spec.model),
      }),
    });
    const repaint = new MutationObserver(() => this.explorer.paint());
    repaint.observe(document.documentElement, { attributeFilter: ["data-dark"] });
  }
}

// Scripts stand at the end of the page, after the specs.
customElements.define("latent-explorer", LatentExplorer);
