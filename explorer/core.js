// One explorer: controls whose values u a model turns into a picture.
// The same class serves the notebook, the slide and the static page.
import * as controls from "./controls.js";
import { button, clamp, make } from "./dom.js";
import { arrange, em, isNarrow } from "./layout.js";
import { drawPanel, placeAxes } from "./plot.js";
import { Sound } from "./sound.js";
import { caption, drawImage, rgb, show } from "./view.js";
import css from "./style.css";

const PASS_THROUGH = new Set(["PageUp", "PageDown", "Tab", "F5", "F11"]);
const IDLE_MS = 150;
const LEG_MS = 1500;
const STEP_MS = 180;
const PAGE_HEIGHT = 34; // em that an explorer takes where it scrolls with its page
const SMALLEST_ON_SLIDE = 16; // CSS pixels, 24 at 1920 x 1080

/** Standard normal, by Box and Muller. */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

const letters = (texts) => Math.max(...texts.map((text) => text.length));

export class Explorer {
  /**
   * @param host     the element to fill; its own content, a still figure, is seen until the model runs
   * @param spec     what utils/explore.py writes
   * @param load     returns the model, see runtime.js
   * @param onValues called with the values once they rest
   * @param channel  name of a BroadcastChannel that keeps several views of one deck alike
   * @param fill     whether the host has a height of its own to fill, as on a slide
   */
  constructor(host, spec, { load, onValues = () => {}, channel = null, fill = false }) {
    Object.assign(this, { host, spec, onValues, fill });
    this.start = spec.controls.flatMap((control) => control.value);
    this.values = [...this.start];
    this.build();
    this.guard();
    if (channel) this.connect(channel);
    this.begin(load);
  }

  // ---------------------------------------------------------------- the page

  build() {
    const { spec } = this;
    const root = this.host.shadowRoot ?? this.host.attachShadow({ mode: "open" });
    this.refreshers = [];
    this.stage = make("div", { class: "stage" });
    if (spec.panels) this.buildViews(spec.panels.map((panel) => panel.title));
    this.captionLine = make("p", { class: "caption" });
    this.words = make("div", { class: "words" });
    if (spec.caption) this.words.append(this.captionLine);
    if (spec.hint) this.words.append(make("p", { class: "hint" }, make("strong", {}, "Try: "), spec.hint));
    this.status = make("p", { class: "status", role: "status" });
    this.controls = make("div", { class: "controls" });
    const side = make("div", { class: "side" });
    let first = 0;
    for (const control of spec.controls) {
      const part = controls[control.kind](this, control, first);
      if (control.kind === "pad") side.append(this.padBox = part);
      else if (part) this.controls.append(part);
      first += [control.value].flat().length;
    }
    if (spec.steps) this.controls.append(this.stepButtons());
    this.controls.append(this.buttons());
    side.append(this.controls);
    const kinds = `frame ${spec.panels ? "plot" : "image"} ${this.padBox ? "" : "no-pad"}`;
    this.frame = make("div", { class: kinds, role: "group", "aria-label": spec.title },
      this.stage, this.words, side);
    this.frame.hidden = true;
    this.reserve();
    this.refresh();
    this.still = make("slot");
    root.replaceChildren(make("style", {}, css), this.still, this.frame, this.status);
  }

  /** One canvas for each picture or panel, its label above. */
  buildViews(labels) {
    this.canvases = labels.map((label) =>
      make("canvas", { role: "img", "aria-label": [this.spec.picture, label].filter(Boolean).join(": ") }));
    this.stage.replaceChildren(...labels.map((label, i) => make("figure", { class: "view" },
      ...(label ? [make("figcaption", {}, label)] : []), this.canvases[i])));
  }

  /** Room for the longest name and the longest number, so that nothing shifts as they change. */
  reserve() {
    const sliders = this.spec.controls.filter((control) => control.kind === "slider");
    const ends = ({ min, max, step, names }) => names ?? [show(min, step), show(max, step)];
    const names = sliders.length ? 0.3 + 0.55 * letters(sliders.map(({ label }) => label)) : 0;
    const outputs = sliders.length ? 0.2 + 0.55 * letters(sliders.flatMap(ends)) : 0;
    const set = (name, size) => this.frame.style.setProperty(name, `${size.toFixed(2)}em`);
    set("--names", names);
    set("--outputs", outputs);
    set("--slider", names + outputs + 6);
    set("--controls", Math.max(names + outputs + 9, 14));
  }

  stepButtons() {
    return make("div", { class: "buttons" }, ...this.spec.steps.map(({ label, output }) =>
      button(label, `take one step: ${label}`, () => this.take(output))));
  }

  buttons() {
    const { spec } = this;
    const row = make("div", { class: "buttons" },
      button("reset", "back to the first values (Home)", () => this.reset()));
    if (spec.controls.some((control) => control.random)) {
      row.append(button("random", "draw new values at random", () => { this.stop(); this.randomise(); }));
    }
    const what = spec.steps ? "take the steps in turn" : "walk a path through the values";
    this.playButton = button("play", what, () => this.togglePlay());
    this.playButton.setAttribute("aria-pressed", "false");
    if (spec.steps || spec.path.length) row.append(this.playButton);
    if (spec.sound) row.append((this.sound = new Sound(this, spec.sound)).button);
    return row;
  }

  /** Keep a slide or a notebook from taking the keys, the wheel and the touches meant for us. */
  guard() {
    this.host.setAttribute("data-lm-suppress-shortcuts", "true");
    this.host.addEventListener("keydown", (event) => {
      const focused = this.host.shadowRoot.activeElement;
      if (event.key === "Home") {
        event.preventDefault();
        this.reset();
      }
      if (event.key === "Enter" && !event.repeat && !focused?.matches("button")) this.sound?.toggle();
      if (event.key === "Escape") focused?.blur();
      if (event.key === "PageUp" || event.key === "PageDown") {
        event.preventDefault(); // a range input would jump
        focused?.blur();
      }
      if (!PASS_THROUGH.has(event.key)) event.stopPropagation();
    });
    for (const name of ["wheel", "touchstart", "touchmove", "touchend", "pointerdown"]) {
      this.host.addEventListener(name, (event) => event.stopPropagation(), { passive: true });
    }
  }

  // ---------------------------------------------------------------- values

  /** What the reader moves, moves; a walk along the path ends. */
  move(first, values) {
    if (!this.spec.steps) this.stop();
    this.set(first, values);
  }

  /** Put `values` in place from position `first` on, and draw. */
  set(first, values, { silent = false } = {}) {
    values.forEach((value, i) => { this.values[first + i] = value; });
    this.refresh();
    this.sound?.silence();
    const drawn = this.update();
    if (!silent) this.rest();
    return drawn;
  }

  reset() {
    this.stop();
    this.set(0, this.start);
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
      this.say(this.captionLine.textContent);
      if (this.sound?.wanted && !this.playing) this.sound.play();
    }, IDLE_MS);
  }

  /** Words for those who do not see the picture; what went wrong is shown to all. */
  say(text, { shown = false } = {}) {
    const before = this.status.classList.contains("shown");
    this.status.textContent = text;
    if (this.status.classList.toggle("shown", shown) !== before) this.fit();
  }

  /** Values on the steps of their controls, normal or even over the range. */
  randomise() {
    let first = 0;
    const values = this.spec.controls.flatMap((control) => [control.value].flat().map(() => {
      const { min, max, step, random } = control;
      const now = this.values[first++];
      if (!random) return now;
      const steps = Math.round((max - min) / step);
      const wanted = random === "normal" ? Math.round((normal() - min) / step)
        : Math.floor(Math.random() * (steps + 1));
      return min + step * clamp(wanted, { min: 0, max: steps });
    }));
    this.set(0, values);
  }

  /** Put what the model returns under this name in the place of all values, one step after the other. */
  take(output) {
    this.taken = (this.taken ?? Promise.resolve()).then(async () => {
      await this.drawing;
      if (this.latest?.[output]) await this.set(0, Array.from(this.latest[output].data));
    });
    return this.taken;
  }

  connect(name) {
    if (typeof BroadcastChannel === "undefined") return;
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = (event) => this.set(0, event.data, { silent: true });
  }

  togglePlay() {
    if (this.playing) this.stop();
    else this.play(this.spec.steps ? this.stepper() : this.walker());
  }

  play(frame) {
    this.playButton.textContent = "pause";
    this.playButton.setAttribute("aria-pressed", "true");
    const next = (now) => {
      frame(now);
      if (this.playing) this.playing = requestAnimationFrame(next);
    };
    this.playing = requestAnimationFrame(next);
  }

  /** Take the steps in turn, slowly enough to follow each. */
  stepper() {
    const { steps } = this.spec;
    let number = 0;
    let due = 0;
    let busy = false;
    return (now) => {
      if (busy || now < due) return;
      busy = true;
      due = now + STEP_MS;
      this.take(steps[number++ % steps.length].output).finally(() => { busy = false; });
    };
  }

  /** Walk the path of the spec, one leg a second and a half, easing in and out of each stop. */
  walker() {
    const path = [[...this.values], ...this.spec.path];
    let begun; // the first frame's time, which may lie before the click's
    return (now) => {
      begun ??= now;
      let leg = (now - begun) / LEG_MS;
      if (leg >= path.length - 1) leg = 1 + ((leg - 1) % (path.length - 1));
      const [from, to] = [path[Math.floor(leg)], path[Math.floor(leg) + 1] ?? path[1]];
      const part = (1 - Math.cos(Math.PI * (leg % 1))) / 2;
      this.set(0, from.map((value, i) => value + (to[i] - value) * part));
    };
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
      this.model = await load();
      if (this.removed) return this.release();
      await this.update();
      this.come();
    } catch (error) {
      if (this.removed) return;
      this.host.dataset.state = "still";
      this.say("The live model did not start here; the picture is a still one.", { shown: true });
      console.error("explorer", this.spec.name, error);
    }
    this.host.dispatchEvent(new CustomEvent("explorer-ready", { bubbles: true }));
  }

  /** Take the still figure's place. */
  come() {
    this.still.hidden = true;
    this.frame.hidden = false;
    this.fit();
    let before = "";
    this.watch = new ResizeObserver(() => {
      const now = this.place();
      if (before !== (before = `${now.width} ${now.height}`)) this.fit();
    });
    this.watch.observe(this.host);
    this.again = () => this.fit();
    document.fonts?.addEventListener("loadingdone", this.again);
    window.addEventListener("resize", this.again);
    this.host.dataset.state = "live";
  }

  /** Run the model on the newest values. While it runs, further values replace each other. */
  update() {
    this.stale = true;
    if (this.model && !this.drawing) {
      this.drawing = this.run().finally(() => { this.drawing = null; });
    }
    return this.drawing;
  }

  async run() {
    while (this.stale && !this.removed) {
      this.stale = false;
      const drawn = [...this.values];
      this.latest = await this.model.run(drawn);
      this.draw();
      this.host.dispatchEvent(new CustomEvent("explorer-drawn", { detail: drawn }));
    }
  }

  // ---------------------------------------------------------------- the picture

  place() {
    const { clientWidth: width, clientHeight: height } = this.host;
    const said = this.status.classList.contains("shown") ? this.status.offsetHeight : 0;
    return { width, height: this.fill ? height - said : PAGE_HEIGHT * em(this.frame) };
  }

  /** Find the sizes that fill the place, and draw. */
  fit() {
    const place = this.place();
    if (this.frame.hidden || !place.width || !place.height) return;
    const look = getComputedStyle(this.host);
    const size = Math.max(0.8 * parseFloat(look.fontSize), this.fill ? SMALLEST_ON_SLIDE : 0);
    const columns = this.columns(place);
    const gap = parseFloat(getComputedStyle(this.stage).columnGap);
    this.stage.style.setProperty("--columns", columns);
    arrange(this, place, (width) => {
      if (!this.spec.panels) return;
      const across = (width - gap * (columns - 1)) / columns;
      this.axes = placeAxes(this.spec.panels, across, { family: look.fontFamily, size });
      this.axes.forEach(({ height }, i) => { this.canvases[i].style.height = `${height}px`; });
    });
    this.wordsHeight = this.words.offsetHeight;
    this.paint();
  }

  /** Pictures side by side, many square ones in two rows; wide ones, and panels where there is no
   * room, under each other. */
  columns({ width }) {
    const { canvases: { length, 0: first }, spec } = this;
    if (spec.panels) return isNarrow(this.frame, width) ? 1 : length;
    if (first.width > 2 * first.height) return 1;
    return length > 4 && first.width >= first.height ? Math.ceil(length / 2) : length;
  }

  draw() {
    const { spec, latest } = this;
    if (!this.canvases) this.buildViews(spec.labels ?? Array(latest.image.dims[0]).fill(""));
    if (spec.caption) this.captionLine.textContent = caption(latest[spec.caption.output], spec.caption);
    this.paint();
    if (this.words.offsetHeight > this.wordsHeight) this.fit();
  }

  /** Draw what the model returned last, in the colours of the present room. */
  paint() {
    const { spec, latest, canvases, axes } = this;
    if (!latest) return;
    const look = getComputedStyle(this.host);
    const colour = (role) => look.getPropertyValue(`--${role}`).trim();
    this.frame.classList.toggle("dark", Math.max(...rgb(colour("paper"))) < 128);
    if (!spec.panels) return canvases.forEach((canvas, i) => drawImage(canvas, latest.image, i, colour));
    if (!axes) return;
    const bounds = canvases[0].getBoundingClientRect();
    const sharp = Math.min(3, Math.max(1, (bounds.width / axes[0].width) * devicePixelRatio));
    canvases.forEach((canvas, i) => drawPanel(canvas, spec.panels[i], latest, axes[i], { colour, sharp }));
  }

  remove() {
    this.removed = true;
    this.stop();
    this.sound?.remove();
    clearTimeout(this.resting);
    this.channel?.close();
    this.watch?.disconnect();
    document.fonts?.removeEventListener("loadingdone", this.again);
    window.removeEventListener("resize", this.again);
    this.release();
  }

  release() {
    this.model?.release();
    this.model = null;
  }
}
