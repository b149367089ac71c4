// Drives report pages in headless Chromium: node test.js SCREENSHOTS REPORT.html [COMPARISON.html ...]
// Fails on an error in the console, a request, a slider or a filter without effect, or text wider than a phone.

import { mkdir } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [folder, ...files] = process.argv.slice(2);
await mkdir(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium" });
const problems = [];
const check = (holds, problem) => holds || problems.push(problem);

// The contrast ratio of WCAG 2.1 between two colors as `rgb(…)`.
const contrast = (one, other) => {
  const luminance = (color) => {
    const linear = color.match(/[\d.]+/g).slice(0, 3).map((value) => value / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};

const hidden = (page, run) => page.$$eval(`.found[data-run="${run}"]`, (boxes) => boxes.filter((box) => getComputedStyle(box).display === "none").length);

for (const file of files) {
  const name = basename(file, ".html");
  const address = pathToFileURL(resolve(file)).href;
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, width] of [["wide", 1280], ["phone", 390]]) {
      const what = `${name}, ${colorScheme}, ${size}`;
      const page = await browser.newPage({ colorScheme, viewport: { width, height: 900 } });
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(`${what}: ${message.text()}`));
      page.on("pageerror", (error) => problems.push(`${what}: ${error.message}`));
      page.on("request", (request) => {
        const url = request.url();
        check(url.split("#")[0] === address || url.startsWith("data:"), `${what}: request of ${url}`);
      });
      await page.goto(address);

      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      check(overflow <= 0, `${what}: ${overflow} pixels wider than the screen`);
      const [text, quiet, card] = await page.evaluate(() => {
        const style = (selector) => getComputedStyle(document.querySelector(selector));
        return [style("body").color, style(".quiet").color, style("section").backgroundColor];
      });
      for (const color of [text, quiet]) check(contrast(color, card) >= 4.5, `${what}: contrast of ${color} on ${card}`);
      await page.screenshot({ path: join(folder, `${name}-${colorScheme}-${size}.png`), fullPage: true });

      // The sliders, by keyboard.
      for (const slider of await page.$$(".slider input")) {
        const run = await slider.getAttribute("data-run");
        const start = await slider.inputValue();
        const before = await hidden(page, run);
        const counts = async () => await page.$$eval(`.slider [data-run="${run}"][data-count]`, (shown) => shown.map((of) => of.textContent));
        const first = await counts();
        await slider.focus();
        await page.keyboard.press("End");
        const all = await page.$$eval(`.found[data-run="${run}"]`, (boxes) => boxes.length);
        const most = await hidden(page, run);
        check(all === 0 || most > before, `${what}: at the highest threshold, ${most} of ${all} boxes are hidden, ${before} before`);
        check(Number((await counts())[0]) <= Number(first[0]), `${what}: a higher threshold finds more`);
        await page.keyboard.press("Home");
        check((await hidden(page, run)) === 0, `${what}: boxes are hidden at the threshold 0`);
        check((await slider.getAttribute("aria-valuetext")).startsWith("0:"), `${what}: no value for screen readers`);
        await page.keyboard.press("ArrowRight");
        check((await slider.inputValue()) === "1", `${what}: the arrow keys do not move the slider`);
        await page.$eval(`.slider button[data-run="${run}"]`, (button) => button.click());
        check((await slider.inputValue()) === start, `${what}: the slider is not reset`);
        check((await hidden(page, run)) === before, `${what}: other boxes are hidden after the reset`);
        check((await counts()).join() === first.join(), `${what}: other counts after the reset`);
      }

      // The filters.
      if (await page.$("#kind")) {
        const visible = () => page.$$eval(".case", (cases) => cases.filter((of) => of.offsetParent !== null).length);
        const all = await visible();
        check((await page.textContent("#shown")) === `${all} of ${all} pictures`, `${what}: the number of pictures is not shown`);
        let sum = 0;
        for (const kind of await page.$$eval("#kind option", (options) => options.map((option) => option.value).filter(Boolean))) {
          await page.selectOption("#kind", kind);
          sum += await visible();
        }
        check(sum === all, `${what}: the kinds have ${sum} of ${all} pictures`);
        await page.selectOption("#kind", "");
        const [label] = await page.$$eval("#class option", (options) => options.map((option) => option.value).filter(Boolean));
        if (label !== undefined) {
          await page.selectOption("#class", label);
          const labels = await page.$$eval(".case", (cases) => cases.filter((of) => of.offsetParent !== null).map((of) => of.dataset.label));
          check(labels.length > 0 && labels.every((other) => other === label), `${what}: the filter of the class`);
          await page.selectOption("#class", "");
        }
        const pictures = await page.$$eval(".pictures svg", (pictures) => pictures.filter((picture) => picture.getBoundingClientRect().height < 20).length);
        check(pictures === 0, `${what}: ${pictures} pictures are empty`);
      }

      // The charts, by pointer and by keyboard.
      for (const chart of await page.$$(".chart > svg")) {
        const id = await chart.getAttribute("id");
        const values = () => page.textContent(`#${id}-values`);
        await chart.scrollIntoViewIfNeeded();
        await chart.hover();
        const pointed = await values();
        check(/\d/.test(pointed), `${what}: ${id} does not answer to the pointer`);
        await page.mouse.move(0, 0);
        check((await values()) === "", `${what}: ${id} keeps its values`);
        await chart.focus();
        await page.keyboard.press("Home");
        const first = await values();
        await page.keyboard.press("End");
        check(/\d/.test(first) && /\d/.test(await values()), `${what}: ${id} does not answer to the keyboard`);
      }
      if (size === "wide") {
        const chart = await page.$("#chart-0");
        await chart.scrollIntoViewIfNeeded();
        await chart.hover();
        await page.screenshot({ path: join(folder, `${name}-${colorScheme}-pointed.png`) });
      }
      const gallery = await page.$("#gallery, #images");
      if (gallery) {
        await gallery.evaluate((section) => section.scrollIntoView());
        await page.screenshot({ path: join(folder, `${name}-${colorScheme}-${size}-gallery.png`) });
      }
      await page.close();
    }
  }
}
await browser.close();
for (const problem of problems) console.error(problem);
console.log(`${files.length} pages, ${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
