// What the reader moves: a pad, sliders, a curve drawn on a panel. Each function takes the explorer,
// the control as utils/explore.py wrote it, and the place of its first value among all values.
import { button, clamp, make } from "./dom.js";
import { placeOnPanel } from "./plot.js";
import { show } from "./view.js";

const MOVES = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1],
};
const FAR = 10; // steps that an arrow key with shift takes

/** Two values as a point of a square; the second grows upwards. */
export function pad(explorer, control, first) {
  const { labels, min, max, step } = control;
  const span = max - min;
  const knob = make("div", { class: "knob" });
  const square = make("div", {
    class: "pad", tabindex: 0, role: "slider", "aria-roledescription": "two-dimensional slider",
    "aria-label": `${labels.join(" and ")}, arrow keys move, shift moves further`,
    "aria-valuemin": min, "aria-valuemax": max,
  });
  if (control.background) square.append(make("img", { src: control.background, alt: "" }));
  square.append(knob);
  const place = (event) => {
    const box = square.getBoundingClientRect();
    const x = min + (span * (event.clientX - box.left)) / box.width;
    const y = max - (span * (event.clientY - box.top)) / box.height;
    explorer.move(first, [clamp(x, control), clamp(y, control)]);
  };
  square.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    square.setPointerCapture(event.pointerId);
    square.focus();
    place(event);
  });
  square.addEventListener("pointermove", (event) => {
    if (square.hasPointerCapture(event.pointerId)) place(event);
  });
  square.addEventListener("keydown", (event) => {
    const direction = MOVES[event.key];
    if (!direction) return;
    event.preventDefault();
    const by = step * (event.shiftKey ? FAR : 1);
    explorer.move(first, direction.map((d, i) => clamp(explorer.values[first + i] + d * by, control)));
  });
  const outputs = labels.map(() => make("output"));
  explorer.refreshers.push(() => {
    const point = explorer.values.slice(first, first + 2);
    knob.style.left = `${(100 * (point[0] - min)) / span}%`;
    knob.style.top = `${(100 * (max - point[1])) / span}%`;
    const text = point.map((value) => show(value, step));
    square.setAttribute("aria-valuenow", point[0]);
    square.setAttribute("aria-valuetext", labels.map((label, i) => `${label} ${text[i]}`).join(", "));
    outputs.forEach((output, i) => { output.value = text[i]; });
  });
  const readings = labels.map((label, i) => make("span", {}, `${label} = `, outputs[i]));
  return make("div", { class: "pad-box" }, square, make("p", { class: "reading" }, ...readings));
}

/** One value, shown as a number or by its name. */
export function slider(explorer, { label, min, max, step, names }, first) {
  const range = make("input", { type: "range", min, max, step });
  const output = make("output");
  range.addEventListener("input", () => explorer.move(first, [Number(range.value)]));
  explorer.refreshers.push(() => {
    const value = explorer.values[first];
    if (Number(range.value) !== value) range.value = value;
    output.value = names ? names[Math.round(value - min)] : show(value, step);
    range.setAttribute("aria-valuetext", output.value);
  });
  return make("label", { class: "slider" }, make("span", { class: "name" }, label), range, output);
}

/** Numbers that no control moves: they change when a step is taken. */
export function state() {
  return null;
}

/** A curve of numbers drawn with the mouse on a panel; the buttons offer curves ready made. */
export function drawing(explorer, control, first) {
  const canvas = explorer.canvases[control.panel];
  const count = control.value.length;
  let last = null;
  const place = (event) => {
    const panel = explorer.spec.panels[control.panel];
    return placeOnPanel(canvas, panel, explorer.axes[control.panel], event);
  };
  const index = (x) => Math.round(clamp(x, { min: 0, max: 1 }) * (count - 1));
  const draw = (event) => {
    const to = place(event);
    const from = last ?? to;
    const [a, b] = [index(from.x), index(to.x)];
    const values = explorer.values.slice(first, first + count);
    for (let i = Math.min(a, b); i <= Math.max(a, b); i++) {
      const part = a === b ? 1 : (i - a) / (b - a);
      values[i] = clamp(from.y + (to.y - from.y) * part, control);
    }
    last = to;
    explorer.move(first, values);
  };
  canvas.classList.add("drawn-on");
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button || !place(event).inside) return;
    canvas.setPointerCapture(event.pointerId);
    last = null;
    draw(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) draw(event);
  });
  const presets = Object.entries(control.presets).map(([name, values]) =>
    button(name, `${control.label}: ${name}`, () => explorer.move(first, values)));
  return make("div", { class: "buttons" }, make("span", { class: "name" }, control.label), ...presets);
}
