// What all windows of one talk agree on: the audience's, the presenter's and its next slide.

export const view = new URLSearchParams(location.search).get("view") ?? "";
export const slides = [...document.querySelectorAll("svg[data-marpit-svg]")];
export const active = () => slides.findIndex((slide) => slide.classList.contains("bespoke-marp-active"));
const readsInTheDark = () => document.documentElement.hasAttribute("data-site") // on the site only
  && matchMedia("(prefers-color-scheme: dark)").matches;
export const state = {
  dark: new URLSearchParams(location.search).has("dark") || readsInTheDark(), short: false, blank: false,
};

const channel = new BroadcastChannel(`lecture:${location.pathname}`);
const listeners = { state: show, hello: () => share({}) };

/** Call `act` with what another window says under `name`. */
export const listen = (name, act) => { listeners[name] = act; };
export const say = (name, value) => channel.postMessage({ [name]: value });

channel.onmessage = ({ data }) => {
  for (const [name, value] of Object.entries(data)) listeners[name]?.(value);
};

/** Change the state here and in the other windows. */
export function share(change) {
  show(change);
  say("state", state);
}

function show(change) {
  Object.assign(state, change);
  for (const [name, on] of Object.entries(state)) document.documentElement.toggleAttribute(`data-${name}`, on);
  dispatchEvent(new Event("deck-state"));
}

show({});
say("hello", true);
