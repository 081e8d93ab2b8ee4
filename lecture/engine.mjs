// Marp with what the lecture adds: figures and fonts inside the page, results by name,
// links to the pages of the notebooks, and the live explorer.
import { Marp } from "@marp-team/marp-core";
import { buildSync } from "esbuild";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const LECTURE = path.dirname(fileURLToPath(import.meta.url));
const ROOT = path.dirname(LECTURE);
const FONTS = path.join(ROOT, "node_modules/@fontsource-variable/source-sans-3/files");
const TYPES = { ".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp" };
const text = (...parts) => readFileSync(path.join(...parts), "utf8");
const json = (...parts) => JSON.parse(text(...parts));

export function dataUri(file, type) {
  if (!existsSync(file)) {
    throw new Error(`${path.relative(ROOT, file)} is missing. Draw it: make notebooks`);
  }
  return `data:${type};base64,${readFileSync(file).toString("base64")}`;
}

// ---------------------------------------------------------------- results

/** The values that the seeds of a notebook recorded under `key`. */
function recorded(notebook, key) {
  const file = path.join(ROOT, "results", `${notebook}.json`);
  const seeds = existsSync(file) ? Object.values(json(file)) : [];
  const values = seeds.map((seed) => seed[key]).filter((value) => value !== undefined);
  if (!values.length) {
    throw new Error(`no result "${key}" of ${notebook} in results/. Record it: make notebooks`);
  }
  return values;
}

/** {{03a_vae.test_elbo:1}} is the mean over seeds to 1 digit, {{...:1 range}} the extremes. */
export function fillResults(markdown) {
  return markdown.replace(/\{\{\s*(\w+)\.(\w+)\s*:\s*(\d)( range)?\s*\}\}/g,
    (_, notebook, key, digits, range) => {
      const values = recorded(notebook, key);
      const show = (value) => value.toFixed(digits);
      if (!range) return show(values.reduce((a, b) => a + b) / values.length);
      const [low, high] = [show(Math.min(...values)), show(Math.max(...values))];
      return low === high ? low : `${low} to ${high}`;
    });
}

// ---------------------------------------------------------------- the page around the slides

function palette() {
  const roles = json(ROOT, "utils/palette.json");
  const block = (name) =>
    Object.entries(roles[name]).map(([role, colour]) => `--${role}:${colour}`).join(";");
  return `html{${block("light")}} @media screen{html[data-dark]{${block("dark")}}}`;
}

function fonts() {
  const ranges = { latin: "U+0000-02FF,U+2000-206F,U+20AC,U+2122,U+2190-2193,U+2212", greek: "U+0370-03FF" };
  const faces = [];
  for (const [subset, range] of Object.entries(ranges)) {
    for (const style of ["normal", "italic"]) {
      const file = path.join(FONTS, `source-sans-3-${subset}-wght-${style}.woff2`);
      faces.push(`@font-face{font-family:"Lecture Sans";font-style:${style};font-weight:200 900;` +
        `unicode-range:${range};src:url(${dataUri(file, "font/woff2")}) format("woff2")}`);
    }
  }
  return faces.join("");
}

/** Everything a page with explorers needs after its body: their specs, then the one runtime. */
export function explorerScripts(names) {
  if (!names.length) return "";
  const specs = names.map((name) => {
    const spec = explorerSpec(name);
    return `<script type="application/json" data-explorer="${name}">${
      JSON.stringify(spec).replaceAll("<", "\\u003c")}</script>`;
  });
  const element = text(ROOT, "build/explorer/element.js").replaceAll("</script", "<\\/script");
  return `${specs.join("")}<script>${element}</script>`;
}

/** What utils/explore.py wrote, with its model inside. */
export function explorerSpec(name) {
  const live = path.join(LECTURE, "live", name);
  if (!existsSync(`${live}.json`)) {
    throw new Error(`lecture/live/${name}.json is missing. Write it: make notebooks`);
  }
  const spec = json(`${live}.json`);
  delete spec.first; // for notebooks
  spec.model = readFileSync(`${live}.onnx`).toString("base64");
  return spec;
}

/** The still figure of an explorer, as an img. */
function stillFigure(name, kind) {
  const { still, still_alt: alt } = explorerSpec(name);
  const source = dataUri(path.join(ROOT, "figures", still), TYPES[path.extname(still)]);
  return `<img class="${kind}" src="${source}" alt="${alt.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}">`;
}

/** An explorer as an element: its content, the still figure, is seen until the model runs. */
export const explorerElement = (name) =>
  `<latent-explorer name="${name}">${stillFigure(name, "still")}</latent-explorer>`;

export function pageStyle() {
  return `<style>${palette()}${fonts()}${text(LECTURE, "page.css")}${text(LECTURE, "explorer.css")}</style>`;
}

/** The keys of a talk, and how they look; bespoke's own script has to run before. */
function deckScript() {
  const [{ text: script }] = buildSync({
    entryPoints: [path.join(LECTURE, "deck.js")], bundle: true, minify: true, target: "es2022",
    format: "iife", write: false,
  }).outputFiles;
  return `<style>${text(LECTURE, "deck.css")}</style>` +
    `<script type="module">${script.replaceAll("</script", "<\\/script")}</script>`;
}

/** The page of a notebook: ../notebooks/03a_vae.ipynb#Part becomes 03a_vae.html#Part. */
export const pageLink = (href) =>
  href.replace(/^(?:\.\.\/notebooks\/|\.\/)?([\w]+)\.ipynb(#.*)?$/, (_, name, part) => `${name}.html${part ?? ""}`);

// ---------------------------------------------------------------- Marp

export const EXPLORER = /<latent-explorer name="([\w/]+)"><\/latent-explorer>/g;

export default class LectureEngine extends Marp {
  constructor(options) {
    super({
      ...options,
      lang: "en",
      math: "mathjax",
      emoji: { shortcode: false, unicode: false },
      html: { ...Marp.html, "latent-explorer": ["name"], details: [], summary: [] },
    });
    this.themeSet.default = this.themeSet.add(text(LECTURE, "theme.css"));
    this.customDirectives.local.outline = (value) => ({ outline: String(value) });
    this.use((markdown) => this.keepAltText(markdown));
    this.use((markdown) => this.inlineFigures(markdown));
    this.use((markdown) => this.linkPages(markdown));
  }

  /** Marpit reads words such as "blur" in an alt text as orders; here they are only words. */
  keepAltText(markdown) {
    markdown.inline.ruler2.at("marpit_parse_image", ({ tokens }) => {
      for (const token of tokens) {
        if (token.type !== "image") continue;
        token.meta = { marpitImage: { url: token.attrGet("src"), options: [] } };
      }
    });
  }

  inlineFigures(markdown) {
    markdown.core.ruler.push("lecture_figures", ({ tokens }) => {
      for (const token of tokens.flatMap((outer) => outer.children ?? [])) {
        if (token.type !== "image") continue;
        const source = token.attrGet("src");
        if (source.startsWith("data:")) continue;
        const type = TYPES[path.extname(source)];
        if (!type) throw new Error(`${source}: only svg, png and webp figures stand on a slide`);
        token.attrSet("src", dataUri(path.resolve(LECTURE, source), type));
      }
    });
  }

  linkPages(markdown) {
    markdown.core.ruler.push("lecture_links", ({ tokens }) => {
      for (const token of tokens.flatMap((outer) => outer.children ?? [])) {
        if (token.type === "link_open") token.attrSet("href", pageLink(token.attrGet("href")));
      }
    });
  }

  render(markdown, env) {
    const rendered = super.render(fillResults(markdown.replaceAll("\r\n", "\n")), env);
    const names = [...new Set([...rendered.html.matchAll(EXPLORER)].map((match) => match[1]))];
    const still = Boolean(process.env.LECTURE_STILL);
    rendered.html = rendered.html.replace(EXPLORER, (_, name) =>
      still ? stillFigure(name, "poster") : explorerElement(name));
    const scripts = still ? "" : explorerScripts(names) + deckScript();
    rendered.html += pageStyle() + scripts;
    return rendered;
  }
}
