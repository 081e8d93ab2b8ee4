// What the site fetches with the first explorer of a page.
export { gunzip, loadRuntime } from "./runtime.js";
export { fill } from "./tag.js";
