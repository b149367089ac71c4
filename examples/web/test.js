// Drives the page in headless Chromium, and compares its boxes with those of `fcos-burn detect`:
// node test.js MODEL.onnx DETECTIONS.json, where the images are those that DETECTIONS.json names.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";

const [model, detections] = process.argv.slice(2);
const types = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const root = import.meta.dirname;

const server = createServer(async (request, response) => {
  const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
  try {
    const body = await readFile(join(root, path === "/" ? "index.html" : path));
    response.writeHead(200, { "Content-Type": types[extname(path)] ?? "text/html" }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const address = `http://127.0.0.1:${server.address().port}/`;

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium" });
const page = await browser.newPage();
const problems = [];
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
page.on("pageerror", (error) => problems.push(error.message));
page.on("request", (request) => {
  const url = request.url();
  if (!url.startsWith(address) && !/^(blob|data):/.test(url)) problems.push(`request of ${url}`);
});
await page.goto(`${address}?providers=wasm`);
await page.setInputFiles("#model", model);
await page.waitForFunction(() => document.getElementById("about").textContent.includes("classes"), null, { timeout: 120_000 });
console.log(await page.textContent("#about"));

const rows = () =>
  page.$$eval("#found tr", (rows) =>
    rows.map((row) => {
      const [name, score, box] = [...row.children].map((cell) => cell.textContent);
      return { name, score: Number(score), box: box.split(", ").map(Number) };
    }),
  );
const setThreshold = (value) =>
  page.$eval("#threshold", (slider, value) => {
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
  }, value);

let [worstBox, worstScore, count, missing, faint] = [0, 0, 0, 0, 0];
const times = [];
for (const image of JSON.parse(await readFile(detections))) {
  await page.$eval("#canvas", (canvas) => delete canvas.dataset.milliseconds);
  await page.setInputFiles("#image", image.file);
  const handle = await page.waitForFunction(() => document.getElementById("canvas").dataset.milliseconds, null, { timeout: 120_000 });
  times.push(Number(await handle.jsonValue()));
  await setThreshold(0);
  const all = await rows();
  await setThreshold(0.5);
  const above = await rows();
  if (above.some(({ score }) => score < 0.4999) || above.length > all.length) problems.push("the threshold does not hide boxes");
  for (const expected of image.detections) {
    const [x, y, width, height] = expected.bbox;
    const corners = [x, y, x + width, y + height];
    const distance = ({ box }) => Math.max(...box.map((side, index) => Math.abs(side - corners[index])));
    const same = all.filter(({ name, score }) => name === expected.category && Math.abs(score - expected.score) < 0.01);
    const best = same.sort((a, b) => distance(a) - distance(b))[0];
    count += 1;
    if (!best || distance(best) > 2) {
      // A rounded pixel decides at the threshold of the scores and of the suppression.
      if (expected.score < 0.3) faint += 1;
      else missing += 1;
      continue;
    }
    worstBox = Math.max(worstBox, distance(best));
    worstScore = Math.max(worstScore, Math.abs(best.score - expected.score));
  }
}
if (process.env.SCREENSHOT) {
  await setThreshold(0.3);
  await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
}
await browser.close();
server.close();

times.sort((a, b) => a - b);
console.log(`${count} detections, ${missing} missing, ${faint} with a score below 0.3 missing; box ${worstBox.toFixed(4)} px, score ${worstScore.toFixed(6)}`);
console.log(`${times[Math.floor(times.length / 2)].toFixed(0)} ms per image (median of ${times.length})`);
for (const problem of problems) console.log(`problem: ${problem}`);
process.exit(problems.length || missing ? 1 : 0);
