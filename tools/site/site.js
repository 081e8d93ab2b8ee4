// The search, fetched when it is first asked for; the keys' way into what scrolls; folds, open on paper.
const dialog = document.querySelector("dialog.search");

function add(tag, attributes) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.onload = resolve;
    element.onerror = () => reject(new Error("no answer"));
    document.head.append(element);
  });
}

let ready = null;

async function begin() {
  const base = new URL("pagefind/", document.baseURI).pathname;
  await Promise.all([
    add("link", { rel: "stylesheet", href: `${base}pagefind-ui.css` }),
    add("script", { src: `${base}pagefind-ui.js` }),
  ]);
  new globalThis.PagefindUI({
    element: dialog.querySelector(".found"), bundlePath: base, baseUrl: new URL("./", document.baseURI).pathname,
    showImages: false, showSubResults: true, resetStyles: false, pageSize: 8,
    translations: { placeholder: "Search pages and slides", zero_results: "Nothing found for [SEARCH_TERM]" },
  });
  dialog.querySelector("input").ariaLabel = "Search pages and slides";
}

async function search() {
  dialog.showModal();
  try {
    await (ready ??= begin());
    dialog.querySelector("input").focus();
  } catch (error) {
    ready = null;
    dialog.querySelector(".found").textContent =
      `The search could not be loaded (${error.message}). It needs a web server: make site says which.`;
  }
}

document.querySelector("button.search").addEventListener("click", search);
dialog.querySelector("button.close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest?.(".found a")) dialog.close();
});
addEventListener("keydown", (event) => {
  const types = event.target.closest?.("input:not([type=range]), textarea, select, [contenteditable]");
  if (event.key !== "/" || types || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  search();
});

// What is wider than the window can be scrolled by the keys.
const reach = new ResizeObserver((boxes) => {
  for (const { target } of boxes) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const box of document.querySelectorAll("mjx-container, pre")) reach.observe(box);

let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("main details:not([open], .code)")];
  for (const part of closed) part.open = true;
  for (const image of document.images) image.loading = "eager";
});
addEventListener("afterprint", () => {
  for (const part of closed) part.open = false;
});
