// A pen and a pointer. Ink belongs to its slide, stands in the slide's own 1280 x 720, and stays
// while the deck is open; every window of the talk shows it.
import { active, listen, say, slides } from "./shared.js";

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = ["model", "data", "latent", "ink"];
const CONTROL = "input, button, select, textarea, summary, a, dialog, .pad, .bespoke-marp-osc, .deck-pen";
const page = document.documentElement;

let mode = null; // "pen", "pointer" or null
let colour = COLOURS[0];
let drawing = null; // the stroke under way
const ink = slides.map(() => []);

function make(tag, parent, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return parent.appendChild(element);
}

const layers = slides.map((slide) => make("g", slide, { class: "deck-ink", "aria-hidden": true }));
const dot = make("circle", slides[0], { class: "deck-dot", r: 9, visibility: "hidden" });

/** A point of the window in the coordinates of the slide that is shown. */
function place({ clientX, clientY }) {
  const { x, y } = new DOMPoint(clientX, clientY)
    .matrixTransform(slides[active()].getScreenCTM().inverse());
  return [Math.round(x * 10) / 10, Math.round(y * 10) / 10];
}

/** A smooth line through the middles of the parts; a single point is a dot. */
function path(points) {
  const [[x, y], ...rest] = points;
  const parts = rest.map(([a, b], i) => {
    const [c, d] = rest[i + 1] ?? [a, b];
    return `Q${a} ${b} ${(a + c) / 2} ${(b + d) / 2}`;
  });
  return `M${x} ${y}${parts.join("") || "h.1"}`;
}

/** Show these strokes on a slide. */
function redraw([slide, strokes]) {
  ink[slide] = strokes;
  layers[slide].replaceChildren();
  for (const stroke of strokes) {
    make("path", layers[slide], { d: path(stroke.points), stroke: `var(--${stroke.colour})` });
  }
}

function change(slide, strokes) {
  redraw([slide, strokes]);
  say("ink", [slide, strokes]);
}

function point(at) {
  dot.setAttribute("visibility", at ? "visible" : "hidden");
  if (!at) return;
  const [slide, x, y] = at;
  slides[slide].append(dot);
  dot.setAttribute("cx", x);
  dot.setAttribute("cy", y);
}

listen("ink", redraw);
listen("point", point);
listen("wants-ink", () => ink.forEach((strokes, slide) => strokes.length && say("ink", [slide, strokes])));
say("wants-ink", true);

// ---------------------------------------------------------------- modes

/** Take up the pen or the pointer, or put it down again. */
export function begin(wanted) {
  setMode(mode === wanted ? null : wanted);
}

/** Put down what is in the hand; false if it is empty. */
export function end() {
  if (!mode) return false;
  setMode(null);
}

function setMode(wanted) {
  mode = wanted;
  drawing = null;
  page.dataset.mode = mode ?? "";
  bar.hidden = mode !== "pen";
  if (mode !== "pointer") {
    point(null);
    say("point", null);
  }
}

export const pen = {
  isOn: () => mode === "pen",
  next: () => choose(COLOURS[(COLOURS.indexOf(colour) + 1) % COLOURS.length]),
  undo: () => change(active(), ink[active()].slice(0, -1)),
  clear: () => change(active(), []),
};

// ---------------------------------------------------------------- its buttons

const bar = document.createElement("div");
bar.className = "deck-pen";
bar.hidden = true;
bar.setAttribute("role", "toolbar");
bar.setAttribute("aria-label", "Pen");

function button(text, act, title) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.title = title;
  element.addEventListener("click", () => {
    act();
    element.blur();
  });
  return element;
}

const swatches = COLOURS.map((name) => {
  const swatch = button("", () => choose(name), `colour: ${name}`);
  swatch.style.background = `var(--${name})`;
  return swatch;
});

function choose(name) {
  colour = name;
  swatches.forEach((swatch, i) => swatch.setAttribute("aria-pressed", COLOURS[i] === colour));
}

bar.append(...swatches, button("undo", pen.undo, "undo (u)"), button("clear", pen.clear, "clear the slide (Delete)"),
  button("done", end, "put the pen down (c)"));
document.body.append(bar);
choose(colour);

// Where there is no keyboard: beside the buttons that the slides have anyway.
document.querySelector(".bespoke-marp-osc")?.append(button("pen", () => begin("pen"), "Pen (c)"));

// ---------------------------------------------------------------- the hand

const onControl = (event) => event.composedPath().some((element) => element.matches?.(CONTROL));
const onSlide = (event) => event.composedPath().includes(slides[active()]);

function keep(event) {
  event.stopPropagation();
  if (event.cancelable) event.preventDefault();
}

const hand = {
  pointerdown(event) {
    if (mode !== "pen" || event.button !== 0 || onControl(event) || !onSlide(event)) return;
    keep(event);
    drawing = { slide: active(), colour, points: [place(event)], pointer: event.pointerId };
    change(drawing.slide, [...ink[drawing.slide], drawing]);
  },
  pointermove(event) {
    if (mode === "pointer" && onSlide(event)) {
      const at = [active(), ...place(event)];
      point(at);
      say("point", at);
    }
    if (!drawing || event.pointerId !== drawing.pointer) return;
    keep(event);
    for (const part of event.getCoalescedEvents?.() ?? []) drawing.points.push(place(part));
    drawing.points.push(place(event));
    change(drawing.slide, ink[drawing.slide]);
  },
  pointerup(event) {
    if (event.pointerId === drawing?.pointer) drawing = null;
  },
};
hand.pointercancel = hand.pointerup;
for (const [name, act] of Object.entries(hand)) window.addEventListener(name, act, { capture: true });

// A finger that draws does not turn the slide, and a mouse that draws marks no words.
for (const name of ["touchstart", "touchmove", "touchend", "mousedown"]) {
  window.addEventListener(name, (event) => {
    if (mode && onSlide(event) && !onControl(event)) keep(event);
  }, { capture: true, passive: false });
}
