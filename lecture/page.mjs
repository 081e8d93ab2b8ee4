// A notebook's HTML body (on standard input) made a page that needs nothing else:
// formulas drawn, colours and fonts inside, explorers alive.
//     node lecture/page.mjs TITLE OUT < body.html
import { liteAdaptor } from "mathjax-full/js/adaptors/liteAdaptor.js";
import { RegisterHTMLHandler } from "mathjax-full/js/handlers/html.js";
import { TeX } from "mathjax-full/js/input/tex.js";
import { AllPackages } from "mathjax-full/js/input/tex/AllPackages.js";
import { mathjax } from "mathjax-full/js/mathjax.js";
import { SVG } from "mathjax-full/js/output/svg.js";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { EXPLORER, explorerScripts, pageLink, pageStyle } from "./engine.mjs";

const [title, out] = process.argv.slice(2);
const here = path.dirname(fileURLToPath(import.meta.url));
const css = readFileSync(path.join(here, "notebook.css"), "utf8");
const body = readFileSync(0, "utf8")
  .replace(/href="([^"]+)"/g, (_, href) => `href="${deckLink(pageLink(href))}"`);

function deckLink(href) {
  return href.replace(/^\.\.\/lecture\/(\w+)\.md/, "$1.html");
}

const adaptor = liteAdaptor();
RegisterHTMLHandler(adaptor);
const page = mathjax.document(
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title></head>
<body><main>${body}</main></body></html>`,
  {
    InputJax: new TeX({ packages: AllPackages, inlineMath: [["$", "$"]], processEscapes: true }),
    OutputJax: new SVG({ fontCache: "local" }),
    skipHtmlTags: ["script", "style", "pre", "code", "textarea"],
    ignoreHtmlClass: "output_png",
  },
);
page.render();
const names = [...new Set([...body.matchAll(EXPLORER)].map((match) => match[1]))];
const html = adaptor.doctype(page.document) + adaptor.outerHTML(adaptor.root(page.document));
const head = `<meta name="viewport" content="width=device-width">${pageStyle()}<style>${css}</style></head>`;
writeFileSync(out, html
  .replace("</head>", () => head)
  .replace("</body>", () => `${explorerScripts(names)}</body>`));
