// The index of the search, by Pagefind: pages by their parts, decks slide by slide.
//     node tools/site/search.mjs SITE < slides
// where `slides` is a list of {"url", "title", "content"} in JSON.
import { readFileSync } from "node:fs";
import path from "node:path";
import * as pagefind from "pagefind";

const site = process.argv[2];

/** What Pagefind returns, or an error with what it has to say. */
async function done(promise) {
  const { errors, ...rest } = await promise;
  if (errors.length) throw new Error(errors.join("\n"));
  return rest;
}

const { index } = await done(pagefind.createIndex({
  excludeSelectors: [".anchor-link", "p.slides", ".prompt", "details.code", "mjx-container"],
}));
await done(index.addDirectory({ path: site }));
for (const { url, title, content } of JSON.parse(readFileSync(0, "utf8"))) {
  await done(index.addCustomRecord({ url, content, language: "en", meta: { title } }));
}
await done(index.writeFiles({ outputPath: path.join(site, "pagefind") }));
await pagefind.close();
