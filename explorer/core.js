// One explorer: controls whose values u a model turns into a picture.
// The same class serves the notebook, the slide and the static page.
import { drawPanels, placeOnPanel } from "./plot.js";
import { inTurn } from "./runtime.js";
import { caption, drawImage } from "./view.js";
import css from "./style.css";

const MOVES = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1],
};
const PASS_THROUGH = new Set(["PageUp", "PageDown", "Tab", "F5", "F11"]);
const IDLE_MS = 150;
const STEP_MS = 180;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function button(text, title, act) {
  const element = make("button", { type: "button", title }, text);
  element.addEventListener("click", act);
  return element;
}

const clamp = (value, { min, max }) => Math.min(max, Math.max(min, value));
const show = (value, step) => value.toFixed(step < 0.1 ? 2 : step < 1 ? 1 : 0).replace("-", "−");

/** Standard normal, by Box and Muller. */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

export class Explorer {
  /**
   * @param host     the element to fill
   * @param spec     what utils/explore.py writes
   * @param load     returns (ort, bytes of the model)
   * @param onValues called with the values once they rest
   * @param channel  name of a BroadcastChannel that keeps several views of one deck alike
   */
  constructor(host, spec, { load, onValues = () => {}, channel = null }) {
    this.host = host;
    this.spec = spec;
    this.onValues = onValues;
    this.start = spec.controls.flatMap((control) => control.value);
    this.values = [...this.start];
    this.build();
    this.guard();
    if (channel) this.connect(channel);
    this.begin(load);
  }

  // ---------------------------------------------------------------- the page

  build() {
    const root = this.host.shadowRoot ?? this.host.attachShadow({ mode: "open" });
    const { spec } = this;
    this.canvas = make("canvas", { role: "img", "aria-label": spec.picture });
    this.canvas.hidden = true;
    this.poster = make("img", { src: spec.first, alt: spec.picture });
    this.captionLine = make("p", { class: "caption" });
    this.status = make("p", { class: "status", role: "status" });
    const kind = spec.panels ? `plot panels-${spec.panels.length}` : "image";
    const stage = make("div", { class: "stage" }, this.canvas, this.poster);
    const controls = make("div", { class: "controls" });
    this.refreshers = [];
    let first = 0;
    for (const control of spec.controls) {
      const part = this[control.kind](control, first);
      if (part) controls.append(part);
      first += [control.value].flat().length;
    }
    if (spec.steps) controls.append(this.stepButtons());
    controls.append(this.buttons());
    this.frame = make("div", { class: `frame ${kind}`, role: "group", "aria-label": spec.title },
      make("div", { class: "left" }, stage, this.captionLine), controls, this.status);
    root.replaceChildren(make("style", {}, css), this.frame);
    this.refresh();
  }

  pad(control, first) {
    const knob = make("div", { class: "knob" });
    const pad = make("div", {
      class: "pad", tabindex: 0, role: "slider", "aria-roledescription": "two-dimensional slider",
      "aria-label": `${control.labels.join(" and ")}, arrow keys move, shift moves further`,
      "aria-valuemin": control.min, "aria-valuemax": control.max,
    });
    if (control.background) pad.append(make("img", { src: control.background, alt: "" }));
    pad.append(knob);
    const span = control.max - control.min;
    const place = (event) => {
      const box = pad.getBoundingClientRect();
      const x = control.min + (span * (event.clientX - box.left)) / box.width;
      const y = control.max - (span * (event.clientY - box.top)) / box.height;
      this.set(first, [x, y].map((value) => clamp(value, control)));
    };
    pad.addEventListener("pointerdown", (event) => {
      pad.setPointerCapture(event.pointerId);
      pad.focus();
      place(event);
    });
    pad.addEventListener("pointermove", (event) => {
      if (pad.hasPointerCapture(event.pointerId)) place(event);
    });
    pad.addEventListener("keydown", (event) => {
      if (event.key === "Home") this.set(first, this.start.slice(first, first + 2));
      const move = MOVES[event.key];
      if (!move && event.key !== "Home") return;
      event.preventDefault();
      if (!move) return;
      const by = control.step * (event.shiftKey ? 10 : 1);
      this.set(first, move.map((m, i) => clamp(this.values[first + i] + m * by, control)));
    });
    const outputs = control.labels.map(() => make("output"));
    this.refreshers.push(() => {
      const point = this.values.slice(first, first + 2);
      knob.style.left = `${(100 * (point[0] - control.min)) / span}%`;
      knob.style.top = `${(100 * (control.max - point[1])) / span}%`;
      const text = point.map((value) => show(value, control.step));
      pad.setAttribute("aria-valuenow", point[0]);
      pad.setAttribute("aria-valuetext", control.labels.map((l, i) => `${l} ${text[i]}`).join(", "));
      outputs.forEach((output, i) => { output.value = text[i]; });
    });
    const readings = control.labels.map((label, i) => make("span", {}, `${label} = `, outputs[i]));
    return make("div", { class: "pad-box" }, pad, make("p", { class: "reading" }, ...readings));
  }

  slider(control, first) {
    const { min, max, step } = control;
    const range = make("input", { type: "range", min, max, step });
    const output = make("output");
    range.addEventListener("input", () => this.set(first, [Number(range.value)]));
    this.refreshers.push(() => {
      if (Number(range.value) !== this.values[first]) range.value = this.values[first];
      output.value = control.names
        ? control.names[Math.round(this.values[first] - min)]
        : show(this.values[first], step);
    });
    return make("label", { class: "slider" },
      make("span", { class: "name" }, control.label), range, output);
  }

  /** Numbers that no control moves: they change when a step is taken. */
  state() {}

  /** A curve of numbers drawn with the mouse on a panel; the buttons offer curves ready made. */
  drawing(control, first) {
    let last = null;
    const draw = (event) => {
      const place = placeOnPanel(this.canvas, this.spec.panels, control.panel, event);
      const count = control.value.length;
      const at = (x) => Math.round(clamp(x, { min: 0, max: 1 }) * (count - 1));
      const from = last ?? place;
      const [a, b] = [at(from.x), at(place.x)];
      for (let i = Math.min(a, b); i <= Math.max(a, b); i++) {
        const part = a === b ? 1 : (i - a) / (b - a);
        this.values[first + i] = clamp(from.y + (place.y - from.y) * part, control);
      }
      last = place;
      this.set(0, this.values);
    };
    this.canvas.style.cursor = "crosshair";
    this.canvas.style.touchAction = "none";
    this.canvas.addEventListener("pointerdown", (event) => {
      if (!placeOnPanel(this.canvas, this.spec.panels, control.panel, event).inside) return;
      this.canvas.setPointerCapture(event.pointerId);
      last = null;
      draw(event);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.canvas.hasPointerCapture(event.pointerId)) draw(event);
    });
    const presets = Object.entries(control.presets).map(([name, values]) =>
      button(name, `${control.label}: ${name}`, () => this.set(first, values)));
    return make("div", { class: "buttons" }, make("span", { class: "name" }, control.label), ...presets);
  }

  stepButtons() {
    return make("div", { class: "buttons" }, ...this.spec.steps.map(({ label, output }) =>
      button(label, `take one step: ${label}`, () => this.take(output))));
  }

  buttons() {
    const what = this.spec.steps ? "take the steps in turn" : "walk a path through the codes";
    this.playButton = button("play", what, () => this.togglePlay());
    this.playButton.setAttribute("aria-pressed", "false");
    const row = make("div", { class: "buttons" },
      button("reset", "back to the first values", () => { this.stop(); this.set(0, this.start); }));
    if (this.spec.controls.some((control) => control.random)) {
      row.append(button("random", "draw new values at random", () => { this.stop(); this.randomise(); }));
    }
    row.append(this.playButton);
    return row;
  }

  /** Keep a slide or a notebook from taking the keys, the wheel and the touches meant for us. */
  guard() {
    this.host.setAttribute("data-lm-suppress-shortcuts", "true");
    this.host.addEventListener("keydown", (event) => {
      const focused = this.host.shadowRoot.activeElement;
      if (event.key === "Escape") focused?.blur();
      if (event.key === "PageUp" || event.key === "PageDown") focused?.blur();
      if (!PASS_THROUGH.has(event.key)) event.stopPropagation();
    });
    for (const name of ["wheel", "touchstart", "touchmove", "touchend", "pointerdown"]) {
      this.host.addEventListener(name, (event) => event.stopPropagation(), { passive: true });
    }
  }

  // ---------------------------------------------------------------- values

  /** Put `values` into the code from position `first` on, and draw. */
  set(first, values, { silent = false } = {}) {
    values.forEach((value, i) => { this.values[first + i] = value; });
    this.refresh();
    this.update();
    if (!silent) this.rest();
  }

  refresh() {
    for (const refresh of this.refreshers) refresh();
  }

  /** Tell others once the values have not moved for a moment. */
  rest() {
    this.channel?.postMessage(this.values);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.onValues([...this.values]);
      this.status.textContent = this.captionLine.textContent;
    }, IDLE_MS);
  }

  randomise() {
    const values = this.spec.controls.flatMap((control) =>
      [control.value].flat().map((_, i) => {
        if (!control.random) return this.values[this.firstOf(control) + i];
        if (control.random === "normal") return clamp(normal(), control);
        const steps = Math.round((control.max - control.min) / control.step);
        return control.min + control.step * Math.floor(Math.random() * (steps + 1));
      }));
    this.set(0, values);
  }

  firstOf(wanted) {
    const before = this.spec.controls.slice(0, this.spec.controls.indexOf(wanted));
    return before.flatMap((control) => control.value).length;
  }

  /** Put what the model returned under this name in the place of all values. */
  take(output) {
    if (this.latest?.[output]) this.set(0, Array.from(this.latest[output].data));
  }

  connect(name) {
    if (typeof BroadcastChannel === "undefined") return;
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = (event) => this.set(0, event.data, { silent: true });
  }

  togglePlay() {
    if (this.playing) this.stop();
    else if (this.spec.steps) this.playSteps();
    else this.play();
  }

  /** Take the steps in turn, slowly enough to follow each. */
  playSteps() {
    this.playButton.textContent = "pause";
    this.playButton.setAttribute("aria-pressed", "true");
    let turn = 0;
    let due = 0;
    const frame = (now) => {
      if (now >= due) {
        this.take(this.spec.steps[turn++ % this.spec.steps.length].output);
        due = now + STEP_MS;
      }
      this.playing = requestAnimationFrame(frame);
    };
    this.playing = requestAnimationFrame(frame);
  }

  /** Walk the path of the spec, one leg a second and a half, easing in and out of each stop. */
  play() {
    const path = [[...this.values], ...this.spec.path];
    let begun; // the first frame's time, which may lie before the click's
    this.playButton.textContent = "pause";
    this.playButton.setAttribute("aria-pressed", "true");
    const frame = (now) => {
      begun ??= now;
      let leg = (now - begun) / 1500;
      if (leg >= path.length - 1) leg = 1 + ((leg - 1) % (path.length - 1));
      const [from, to] = [path[Math.floor(leg)], path[Math.floor(leg) + 1] ?? path[1]];
      const part = (1 - Math.cos(Math.PI * (leg % 1))) / 2;
      this.set(0, from.map((value, i) => value + (to[i] - value) * part));
      this.playing = requestAnimationFrame(frame);
    };
    this.playing = requestAnimationFrame(frame);
  }

  stop() {
    cancelAnimationFrame(this.playing);
    this.playing = null;
    this.playButton.textContent = "play";
    this.playButton.setAttribute("aria-pressed", "false");
  }

  // ---------------------------------------------------------------- the model

  async begin(load) {
    try {
      const { ort, model } = await load();
      this.ort = ort;
      this.session = await inTurn(() =>
        ort.InferenceSession.create(model, { executionProviders: ["wasm"] }));
      if (this.removed) return this.session.release();
      await this.update();
      this.poster.hidden = true;
      this.canvas.hidden = false;
      this.host.dataset.state = "live";
    } catch (error) {
      this.host.dataset.state = "poster";
      this.status.textContent = "The live model did not start here; the picture is a still one.";
      this.status.classList.add("shown");
      console.error("explorer", this.spec.name, error);
    }
    this.host.dispatchEvent(new CustomEvent("explorer-ready", { bubbles: true }));
  }

  /** Run the model on the newest values. While it runs, further values replace each other. */
  async update() {
    if (!this.session) return;
    this.stale = true;
    if (this.running) return;
    this.running = true;
    try {
      while (this.stale) {
        this.stale = false;
        const u = new this.ort.Tensor("float32", Float32Array.from(this.values), [1, this.values.length]);
        this.draw(await inTurn(() => this.session.run({ u })));
      }
    } finally {
      this.running = false;
    }
  }

  draw(outputs) {
    this.latest = outputs;
    const style = getComputedStyle(this.host);
    const colour = (role) => style.getPropertyValue(`--${role}`).trim();
    if (this.spec.panels) drawPanels(this.canvas, outputs, this.spec.panels, { colour, font: style.fontFamily });
    else drawImage(this.canvas, outputs.image, colour);
    this.frame.classList.toggle("wide", this.canvas.width > 1.3 * this.canvas.height);
    if (this.spec.caption) {
      this.captionLine.textContent = caption(outputs[this.spec.caption.output], this.spec.caption);
    }
    this.host.dispatchEvent(new CustomEvent("explorer-drawn", { detail: [...this.values] }));
  }

  remove() {
    this.removed = true;
    this.stop();
    clearTimeout(this.resting);
    this.channel?.close();
    this.session?.release();
  }
}
