// All decks and pages of a folder in one Firefox, from files and over http: is each explorer alive,
// does it move, does anything fail? Prints one line of JSON for each page.
//     node tests/firefox.mjs FIREFOX FOLDER NAME...
import puppeteer from "puppeteer-core";
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [executablePath, folder, ...names] = process.argv.slice(2);
const timeout = 240_000; // for a machine under load

const served = createServer((request, response) => {
  const name = path.basename(request.url);
  response.writeHead(names.includes(name) ? 200 : 404, { "Content-Type": "text/html; charset=utf-8" });
  if (names.includes(name)) createReadStream(path.join(folder, name)).pipe(response);
  else response.end(); // the icon that browsers ask for
}).listen(0, "127.0.0.1");
await new Promise((done) => served.once("listening", done));

/** Move the first value of every explorer, on its slide: is its picture another, and inside its place?
 * Does Firefox understand its sound, where it has one? (Whether it plays is up to the machine.) */
async function moved() {
  const pictures = (explorer) => explorer.canvases.map((canvas) => canvas.toDataURL()).join();
  const settled = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const understood = ({ audio, button }) => new Promise((done) => {
    audio.addEventListener("loadedmetadata", () => done(audio.duration > 0), { once: true });
    audio.addEventListener("error", () => done(false), { once: true });
    button.click();
  });
  const changed = [];
  for (const part of document.querySelectorAll("details")) part.open = true;
  for (const element of document.querySelectorAll("latent-explorer")) {
    const { explorer } = element;
    const slide = element.closest("section");
    if (slide) location.hash = slide.id;
    await settled();
    const before = pictures(explorer);
    const drawn = new Promise((done) => element.addEventListener("explorer-drawn", done, { once: true }));
    const { min, max } = explorer.spec.controls[0];
    explorer.move(0, [explorer.values[0] > (min + max) / 2 ? min : max]);
    await drawn;
    const [place, frame] = [element, explorer.frame].map((part) => part.getBoundingClientRect());
    const inside = frame.width > 100 && frame.height > 100 && (!slide || frame.bottom <= place.bottom + 1);
    const heard = !explorer.sound || await understood(explorer.sound);
    changed.push(inside && heard && pictures(explorer) !== before);
  }
  return changed;
}

/** Formulas of which a part is missing. Firefox says so too soon: of formulas that are still on their way. */
function broken() {
  const parts = { mfrac: 2, mroot: 2, msub: 2, msup: 2, msubsup: 3, munder: 2, mover: 2, munderover: 3 };
  return Object.entries(parts).flatMap(([name, count]) => [...document.querySelectorAll(name)]
    .filter((formula) => formula.childElementCount !== count).map((formula) => formula.outerHTML));
}

const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true, timeout });
const page = await browser.newPage();
let errors = [];
page.on("pageerror", ({ message }) => {
  if (!message.startsWith("Invalid markup: Incorrect number of children")) errors.push(message);
});
for (const from of ["file", "http"]) {
  for (const name of names) {
    errors = [];
    const url = from === "file" ? pathToFileURL(path.join(folder, name)).href
      : `http://127.0.0.1:${served.address().port}/${name}`;
    await page.goto(url, { waitUntil: "load", timeout });
    const all = "() => [...document.querySelectorAll('latent-explorer')].every((e) => e.dataset.state)";
    await page.waitForFunction(`(${all})()`, { timeout });
    const states = await page.evaluate(() =>
      [...document.querySelectorAll("latent-explorer")].map((e) => e.dataset.state));
    errors.push(...await page.evaluate(broken));
    const live = states.every((state) => state === "live");
    console.log(JSON.stringify({ from, name, states, moved: live ? await page.evaluate(moved) : [], errors }));
  }
}
await browser.close();
served.close();
