// The explorer in a notebook, as an anywidget. One runtime serves all explorers of a page.
import { Explorer } from "./core.js";
import { loadRuntime } from "./runtime.js";
import palette from "../utils/palette.json";

function paint(host) {
  const dark = document.body.dataset.jpThemeLight === "false";
  if (dark) host.style.setProperty("--figure-filter", "invert(1) hue-rotate(180deg)");
  for (const [name, colour] of Object.entries(palette[dark ? "dark" : "light"])) {
    host.style.setProperty(`--${name}`, colour);
  }
}

async function render({ model, el }) {
  const host = document.createElement("div");
  paint(host);
  el.append(host);
  const explorer = new Explorer(host, model.get("spec"), {
    onValues: (values) => {
      model.set("values", values);
      model.save_changes();
    },
    load: async () => {
      const id = model.get("runtime").replace("IPY_MODEL_", "");
      const shared = await model.widget_manager.get_model(id);
      const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
      const ort = await loadRuntime(async () => bytes(shared.get("wasm")));
      return { ort, model: bytes(model.get("onnx")) };
    },
  });
  const fromPython = () => {
    const values = model.get("values");
    if (values.some((value, i) => value !== explorer.values[i])) {
      explorer.set(0, values, { silent: true });
    }
  };
  model.on("change:values", fromPython);
  return () => {
    model.off("change:values", fromPython);
    explorer.remove();
  };
}

export default { render };
