// All keys, in a box over the slide.

const LINES = [
  ["→ ↓ Space PageDown", "next slide"],
  ["← ↑ PageUp", "slide before"],
  ["Home, End", "first slide, last slide"],
  ["12 Enter", "slide 12"],
  ["o", "all slides, small"],
  ["s", "short route on or off: long slides are passed over"],
  ["f", "fill the screen"],
  ["p", "presenter's window: notes, clock, next slide"],
  ["d", "dark room on or off"],
  ["b or .", "blank the screen, and back"],
  ["l", "pointer on or off"],
  ["c", "pen on or off"],
  ["x, u, Delete", "with the pen: next colour, undo, clear the slide"],
  ["Tab", "into a slide's sliders"],
  ["arrows, Home", "on a slider: move it, set it back; Escape returns to the slides"],
  ["?", "this list; any key closes it"],
];

const escape = (text) => text.replaceAll("<", "&lt;");

export const help = document.createElement("dialog");
help.className = "deck-help";
help.setAttribute("aria-label", "Keys");
help.innerHTML = `<table>${LINES.map(([keys, what]) =>
  `<tr><th scope="row">${escape(keys)}</th><td>${escape(what)}</td></tr>`).join("")}</table>`;
help.addEventListener("click", () => help.close());
document.body.append(help);
