// The dark room: the key d, or ?dark in the address, swaps the palette.
(() => {
  const page = document.documentElement;
  page.toggleAttribute("data-dark", new URLSearchParams(location.search).has("dark"));
  document.addEventListener("keydown", (event) => {
    if (event.key === "d" && !event.ctrlKey && !event.metaKey && !event.altKey) {
      page.toggleAttribute("data-dark");
    }
  });
})();
