// What a talk needs beside the slides: one key for each thing, all of them shown by "?".
import { help } from "./deck/help.js";
import { begin, end, pen } from "./deck/pen.js";
import { digit, go } from "./deck/route.js";
import { share, state } from "./deck/shared.js";

const KEYS = {
  "?": () => help.showModal(),
  b: () => share({ blank: !state.blank }),
  ".": () => share({ blank: !state.blank }), // what a presenter's remote sends
  d: () => share({ dark: !state.dark }),
  s: () => share({ short: !state.short }),
  c: () => begin("pen"),
  l: () => begin("pointer"),
  Enter: go,
  Escape: () => {
    if (state.blank) return share({ blank: false });
    return end();
  },
};
const PEN_KEYS = { x: pen.next, u: pen.undo, Backspace: pen.undo, Delete: pen.clear };

/** Whether what has the focus takes letters and digits for itself. */
const types = (element) =>
  element.matches?.("input:not([type=range]), textarea, select, [contenteditable]");

// Before the slides and the explorers see the key: a function that returns false leaves it to them.
window.addEventListener("keydown", (event) => {
  const ctrlZ = event.ctrlKey && event.key === "z";
  if (types(event.composedPath()[0]) || (!ctrlZ && (event.ctrlKey || event.metaKey || event.altKey))) return;
  let act = KEYS[event.key];
  if (/^\d$/.test(event.key)) act = () => digit(event.key);
  if (pen.isOn()) act = PEN_KEYS[ctrlZ ? "u" : event.key] ?? act;
  if (help.open) act = () => help.close();
  if (!act || act() === false) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);
