// The explorer where everything is inside the page.
// The page carries each spec as <script type="application/json" data-explorer="NAME">.
import wasm from "../build/explorer/ort.wasm.gz";
import { bytesFromBase64, gunzip, openModel } from "./runtime.js";
import { fill } from "./tag.js";

class LatentExplorer extends HTMLElement {
  connectedCallback() {
    if (this.explorer) return;
    const source = document.querySelector(`script[data-explorer="${this.getAttribute("name")}"]`);
    const spec = JSON.parse(source.textContent);
    fill(this, spec, () =>
      openModel(() => gunzip(bytesFromBase64(wasm)), bytesFromBase64(spec.model)));
  }
}

// Scripts stand at the end of the page, after the specs.
customElements.define("latent-explorer", LatentExplorer);
