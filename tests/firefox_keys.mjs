// The keys of a deck in Firefox, from a file, in two windows. Prints what they did as JSON.
//     node tests/firefox_keys.mjs FIREFOX DECK.html
import puppeteer from "puppeteer-core";
import { pathToFileURL } from "node:url";

const [executablePath, deck] = process.argv.slice(2);
const timeout = 240_000; // for a machine under load
const url = pathToFileURL(deck).href;
const browser = await puppeteer.launch({
  browser: "firefox", executablePath, headless: true, timeout, defaultViewport: null, // not known to every Firefox
  args: ["--width=1280", "--height=720"],
});
const errors = [];

async function open(search) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(`${url}${search}#2`, { waitUntil: "load", timeout });
  await page.waitForSelector(".deck-help", { timeout });
  return page;
}

const shown = (page) => page.evaluate(() => [...document.querySelectorAll("svg[data-marpit-svg]")]
  .findIndex((slide) => slide.classList.contains("bespoke-marp-active")) + 1);
const ink = () => document.querySelectorAll(".bespoke-marp-active .deck-ink path").length;

async function press(page, ...keys) {
  for (const key of keys) await page.keyboard.press(key);
}

const told = {};
const audience = await open("");
await press(audience, "?");
told.help = await audience.evaluate(() => document.querySelector(".deck-help").open);
await press(audience, "Escape", "1", "2", "Enter");
told.jump = await shown(audience);
await press(audience, "1", "Enter", "s");
told.route = [1];
for (const _ of [1, 2, 3, 4, 5, 6]) {
  await press(audience, "PageDown");
  told.route.push(await shown(audience));
}
await press(audience, "2", "Enter", "c");
await audience.mouse.move(200, 200);
await audience.mouse.down();
await audience.mouse.move(400, 300, { steps: 4 });
await audience.mouse.up();
told.ink = await audience.evaluate(ink);

const presenter = await open("?view=presenter");
await presenter.waitForFunction(`(${ink})() === 1`, { timeout });
await press(presenter, "b");
await audience.waitForFunction(() => document.documentElement.hasAttribute("data-blank"), { timeout });
console.log(JSON.stringify({ ...told, errors }));
await browser.close();
