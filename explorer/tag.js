// <latent-explorer name="03_vae/plane">: an explorer on a slide or a page.
import { Explorer } from "./core.js";

/** Make an element the explorer of a spec; `load` returns its model. */
export function fill(element, spec, load) {
  element.explorer = new Explorer(element, spec, {
    channel: `lecture:${location.pathname}:${element.getAttribute("name")}`,
    fill: Boolean(element.closest("section")),
    load,
  });
  const repaint = new MutationObserver(() => element.explorer.paint());
  repaint.observe(document.documentElement, { attributeFilter: ["data-dark"] });
}
