// The explorer in a notebook, as an anywidget. One runtime serves all explorers of a page.
import { Explorer } from "./core.js";
import { make } from "./dom.js";
import { gunzip, openModel } from "./runtime.js";
import palette from "../utils/palette.json";

/** Whether the notebook is dark: JupyterLab and Notebook say so, VS Code too; else what lies behind. */
function isDark(host) {
  const { jpThemeLight, vscodeThemeKind } = document.body.dataset;
  if (jpThemeLight) return jpThemeLight === "false";
  if (vscodeThemeKind) return /dark|high-contrast$/.test(vscodeThemeKind);
  for (let place = host; place; place = place.parentElement) {
    const [red, green, blue, opacity = 1] = getComputedStyle(place).backgroundColor.match(/[\d.]+/g).map(Number);
    if (opacity) return red + green + blue < 384;
  }
  return false;
}

function colour(host) {
  for (const [role, value] of Object.entries(palette[isDark(host) ? "dark" : "light"])) {
    host.style.setProperty(`--${role}`, value);
  }
}

async function render({ model, el }) {
  const spec = model.get("spec");
  const still = make("img", { src: spec.first, alt: spec.picture });
  const host = make("div", {}, still);
  still.hidden = true;
  el.append(host);
  colour(host);
  host.addEventListener("explorer-ready", () => { still.hidden = false; });
  const explorer = new Explorer(host, spec, {
    onValues: (values) => {
      model.set("values", values);
      model.save_changes();
    },
    load: async () => {
      const id = model.get("runtime").replace("IPY_MODEL_", "");
      const shared = await model.widget_manager.get_model(id);
      const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
      return openModel(() => gunzip(bytes(shared.get("wasm"))), bytes(model.get("onnx")));
    },
  });
  const fromPython = () => {
    const values = model.get("values");
    if (values.some((value, i) => value !== explorer.values[i])) {
      explorer.set(0, values, { silent: true });
    }
  };
  fromPython(); // a page loaded again finds the values that Python has
  model.on("change:values", fromPython);
  const repaint = new MutationObserver(() => {
    colour(host);
    explorer.paint();
  });
  const theme = ["class", "style", "data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind"];
  for (const place of [document.documentElement, document.body]) {
    repaint.observe(place, { attributeFilter: theme });
  }
  return () => {
    model.off("change:values", fromPython);
    repaint.disconnect();
    explorer.remove();
  };
}

export default { render };
