// Elements made in one line.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function button(text, title, act) {
  const element = make("button", { type: "button", title }, text);
  element.addEventListener("click", act);
  return element;
}

export const clamp = (value, { min, max }) => Math.min(max, Math.max(min, value));
