// The HTML bodies of notebooks made pages that need nothing else: formulas drawn, colours and fonts
// inside, explorers alive. Each line of standard input is {"title", "out", "body"} in JSON; the
// name of each page is printed once it is written.
//     node lecture/page.mjs < orders
import { liteAdaptor } from "mathjax-full/js/adaptors/liteAdaptor.js";
import { AssistiveMmlHandler } from "mathjax-full/js/a11y/assistive-mml.js";
import { RegisterHTMLHandler } from "mathjax-full/js/handlers/html.js";
import { TeX } from "mathjax-full/js/input/tex.js";
import { AllPackages } from "mathjax-full/js/input/tex/AllPackages.js";
import { mathjax } from "mathjax-full/js/mathjax.js";
import { SVG } from "mathjax-full/js/output/svg.js";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { EXPLORER, explorerElement, explorerScripts, pageLink, pageStyle } from "./engine.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const read = (name) => readFileSync(path.join(here, name), "utf8");
const STYLE = `${pageStyle()}<style>${read("notebook.css")}</style>`;
const SCRIPT = `<script>${read("notebook.js")}</script>`;

const adaptor = liteAdaptor();
AssistiveMmlHandler(RegisterHTMLHandler(adaptor)); // MathML for those who cannot see the formula

const deckLink = (href) => href.replace(/^\.\.\/lecture\/(\w+)\.md/, "$1.html");

/** A formula in a line, and how far it reaches below: said of its box, which may have to scroll. */
const INLINE = /<mjx-container class="MathJax" jax="SVG" style="position: relative;"><svg style="(vertical-align: [-.\d]+ex;)"/g;

function page({ title, body }) {
  const names = [...new Set([...body.matchAll(EXPLORER)].map((match) => match[1]))];
  const main = body
    .replace(EXPLORER, (_, name) => explorerElement(name))
    .replace(/href="([^"]+)"/g, (_, href) => `href="${deckLink(pageLink(href))}"`)
    .replace(/<table[\s\S]*?<\/table>/g, (table) => `<div class="scroll" tabindex="0" role="group" aria-label="table">${table}</div>`);
  const drawn = mathjax.document(
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title></head>
<body><main>${main}</main></body></html>`,
    {
      InputJax: new TeX({ packages: AllPackages, inlineMath: [["$", "$"]], processEscapes: true }),
      OutputJax: new SVG({ fontCache: "local" }),
      skipHtmlTags: ["script", "style", "pre", "code", "textarea"],
      ignoreHtmlClass: "output_png",
    },
  ).render();
  const html = "<!doctype html>" + adaptor.outerHTML(adaptor.root(drawn.document));
  return html
    .replace(INLINE, '<mjx-container class="MathJax" jax="SVG" style="position: relative; $1"><svg')
    .replace("</head>", () => `<meta name="viewport" content="width=device-width">${STYLE}</head>`)
    .replace("</body>", () => `${explorerScripts(names)}${SCRIPT}</body>`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  writeFileSync(order.out, page(order));
  console.log(order.out);
}
