// Dark where the reader's machine is; before the first paint.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.toggleAttribute("data-dark", dark.matches);
  dark.addEventListener("change", follow);
  follow();
})();
