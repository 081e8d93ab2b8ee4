// The short route, and the way to a slide by its number.
import { active, say, slides, state, view } from "./shared.js";

const WAIT_MS = 4000;
const isLong = slides.map((slide) => slide.querySelector("section.long") !== null);
const bubble = document.createElement("output");
bubble.className = "deck-number";
document.body.append(bubble);

let typed = "";
let forget;
let last = active();
let wanted = last; // where bespoke went, whatever the route
let jumped;
let stepping = false; // an order of this window is at work: forward, back, first or last

/** Show a slide, whatever the route. */
export function jump(index) {
  stepping = false;
  jumped = index;
  history.replaceState(history.state, "", `#${index + 1}`);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

export function digit(key) {
  write((typed + key).slice(-3));
}

/** Jump to the number that was typed; false if there is none. */
export function go() {
  if (!typed) return false;
  const number = Number(typed);
  write("");
  if (number >= 1 && number <= slides.length) jump(number - 1);
  else write("", `there are ${slides.length} slides`);
}

function write(digits, text = digits && `slide ${digits}, then Enter`) {
  typed = digits;
  bubble.value = text;
  clearTimeout(forget);
  if (text) forget = setTimeout(() => write(""), WAIT_MS);
}

for (const name of ["keydown", "wheel", "click", "touchend"]) {
  window.addEventListener(name, () => {
    stepping = true;
    setTimeout(() => { stepping = false; });
  }, { capture: true, passive: true });
}

/** Go on, in the direction that we came from, to a slide of the short route. */
function skip() {
  const now = active();
  if (now === last || now < 0) return;
  const by = view === "next" ? 1 : Math.sign(now - last);
  last = now;
  if (now !== jumped) wanted = now;
  if (!state.short || !(stepping || view === "next")) return;
  let to = now;
  while (isLong[to]) to += by;
  if (to !== now && to in slides) jump(to);
}

const watch = new MutationObserver(skip);
for (const slide of slides) watch.observe(slide, { attributeFilter: ["class"] });

// The presenter's small picture of what comes next is a window of its own.
if (view === "next") {
  addEventListener("deck-state", () => {
    jump(wanted);
    last = -1;
    skip();
  });
}
