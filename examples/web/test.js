// Drives the page in headless Chromium: node test.js MODEL.onnx DETECTIONS.json
//
// Every detection that `fcos-burn detect` wrote to DETECTIONS.json has to be found in the same image files, within 0.05
// pixels and 0.0001 of the score. The files have to be PNG, since decoders of JPEG files round differently. Images are
// chosen as files, the first one is also dropped, and a camera that Chromium simulates has to be detected in.
// PROVIDERS=webgpu uses WebGPU, SCREENSHOT=FILE writes a picture. Paths of images are relative to the current folder.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { basename, extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";

const [model, detections] = process.argv.slice(2);
const provider = process.env.PROVIDERS ?? "wasm";
const root = import.meta.dirname;
const types = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

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

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    ...(provider === "webgpu" ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] : []),
  ],
});
const page = await browser.newPage();
const problems = [];
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
page.on("pageerror", (error) => problems.push(error.message));
page.on("request", (request) => {
  const url = request.url();
  if (!url.startsWith(address) && !/^(blob|data):/.test(url)) problems.push(`request of ${url}`);
});
await page.goto(`${address}?providers=${provider}`);
await page.setInputFiles("#model", model);
const loaded = () => /classes|None/.test(document.getElementById("about").textContent);
await page.waitForFunction(loaded, null, { timeout: 120_000 });
const about = await page.textContent("#about");
console.log(about);
if (!about.endsWith(provider)) problems.push(`does not run in ${provider}: ${await page.textContent("#status")}`);

const rows = () =>
  page.$$eval("#found tr", (rows) =>
    rows.map((row) => {
      const [name, score, box] = [...row.children].map((cell) => cell.textContent);
      return { name, score: Number(score), box: box.split(", ").map(Number) };
    }),
  );

const setThreshold = (value) =>
  page.$eval(
    "#threshold",
    (slider, value) => {
      slider.value = value;
      slider.dispatchEvent(new Event("input"));
    },
    value,
  );

/** The milliseconds of the detection that `start` starts. */
async function detected(start) {
  await page.$eval("#canvas", (canvas) => delete canvas.dataset.milliseconds);
  await start();
  const time = () => document.getElementById("canvas").dataset.milliseconds;
  return Number(await (await page.waitForFunction(time, null, { timeout: 120_000 })).jsonValue());
}

// The page rounds boxes to hundredths and scores to ten thousandths.
const [PIXELS, SCORE] = [0.05 + 0.005, 1e-4 + 5e-5];
let worst = [0, 0];
const images = JSON.parse(await readFile(detections));
const times = [];
let [count, missing] = [0, 0];
for (const [index, image] of images.entries()) {
  times.push(await detected(() => page.setInputFiles("#image", image.file)));
  await setThreshold(0);
  const all = await rows();
  await setThreshold(0.5);
  const above = await rows();
  const expectedAbove = all.filter(({ score }) => score >= 0.5).length;
  // Scores of the table are rounded.
  if (above.some(({ score }) => score < 0.4999) || Math.abs(above.length - expectedAbove) > 1) {
    problems.push("the threshold does not hide the boxes below it");
  }
  if (extname(image.file) !== ".png") problems.push(`${image.file} is not a PNG file`);
  for (const expected of image.detections) {
    const [x, y, width, height] = expected.bbox;
    const corners = [x, y, x + width, y + height];
    const distance = ({ box }) => Math.max(...box.map((side, index) => Math.abs(side - corners[index])));
    const difference = ({ score }) => Math.abs(score - expected.score);
    const same = all.filter((one) => one.name === expected.category && difference(one) <= SCORE);
    const best = same.sort((a, b) => distance(a) - distance(b))[0];
    count += 1;
    if (!best || distance(best) > PIXELS) {
      missing += 1;
      console.log(`missing: ${basename(image.file)} ${JSON.stringify(expected)}`);
      continue;
    }
    worst = [Math.max(worst[0], distance(best)), Math.max(worst[1], difference(best))];
  }
  if (index === 0) {
    const chosen = await rows();
    const bytes = [...(await readFile(image.file))];
    await detected(() =>
      page.$eval(
        "#drop",
        (drop, { bytes, name }) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
          drop.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        },
        { bytes, name: basename(image.file) },
      ),
    );
    if (JSON.stringify(await rows()) !== JSON.stringify(chosen)) problems.push("a dropped image gives other boxes");
  }
}
if (process.env.SCREENSHOT) {
  await setThreshold(0.3);
  await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
}

await detected(() => page.click("#camera"));
await detected(() => {});
const size = await page.$eval("#canvas", ({ width, height }) => `${width}×${height}`);
await page.click("#camera");
console.log(`camera: frames of ${size}`);

await browser.close();
server.close();

times.sort((a, b) => a - b);
console.log(`${count} detections in ${images.length} images, ${missing} missing`);
console.log(`largest differences: box ${worst[0].toFixed(2)} px, score ${worst[1].toFixed(4)}`);
console.log(`${times[Math.floor(times.length / 2)].toFixed(0)} ms per image (median)`);
for (const problem of problems) console.log(`problem: ${problem}`);
process.exit(problems.length || missing ? 1 : 0);
