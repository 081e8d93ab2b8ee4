// A handout of a deck: the picture of each slide, the notes below it, two or so a page.
//     LECTURE_STILL=1 node lecture/notes.mjs DECK.md OUT.html
import { readFileSync, writeFileSync } from "node:fs";
import LectureEngine from "./engine.mjs";

const [deck, out] = process.argv.slice(2);
const source = readFileSync(deck, "utf8");
const title = source.match(/^title: "(.*)"$/m)[1];
const { html, css, comments } = new LectureEngine({ script: false }).render(source);
const slides = html.match(/<svg data-marpit-svg[\s\S]*?<\/foreignObject><\/svg>/g);
const rest = html.slice(html.lastIndexOf("</foreignObject></svg>")).replace(/^[\s\S]*?<\/div>/, "");

const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const paragraphs = (notes) => notes.join("\n").trim().split(/\n+/).map((line) => `<p>${escape(line)}</p>`).join("");
const entries = slides.map((slide, i) =>
  `<article><div class="marpit">${slide}</div><aside><b>${i + 1}</b>${paragraphs(comments[i])}</aside></article>`);

writeFileSync(out, `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}: notes</title>
<style>${css}</style>${rest}
<style>
@page { size: A4; margin: 14mm 20mm; }
body { margin: 0; }
article { break-inside: avoid; margin-bottom: 6mm; }
html, body, section { break-before: auto !important; break-inside: auto !important; }
div.marpit > svg[data-marpit-svg] { display: block; width: 150mm !important; height: 84.4mm !important; border: .3mm solid var(--line); }
aside { font: 10.5pt/1.4 var(--font); color: var(--ink); margin-top: 2mm; display: grid; grid-template-columns: 8mm 1fr; }
aside p { grid-column: 2; margin: 0 0 1mm; }
aside b { grid-row: 1; color: var(--muted); }
</style></head><body><h1 style="font: 600 15pt var(--font)">${title}</h1>${entries.join("\n")}</body></html>`);
