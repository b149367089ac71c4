"use strict";

const data = JSON.parse(document.getElementById("page-data").textContent);
const SVG = "http://www.w3.org/2000/svg";

// What needs this script.

for (const part of document.querySelectorAll(".controls, .filters")) part.hidden = false;

// Sliders for the score thresholds.

// With one decimal, rounded in integers as on the page without this script.
const percent = (part, whole) => {
  if (whole === 0) return "–";
  const tenths = Math.floor((2000 * part + whole) / (2 * whole));
  return `${Math.floor(tenths / 10)}.${tenths % 10}%`;
};

// One of the counts of all objects or of a class, as on the page without this script.
const count = (name, { objects, correct, wrong }, index) => {
  const [found, other] = [correct[index], wrong[index]];
  switch (name) {
    case "found": return `${found}`;
    case "wrong": return `${other}`;
    case "missed": return `${Math.max(0, objects - found)}`;
    case "precision": return percent(found, found + other);
    case "recall": return percent(found, objects);
    default: return percent(2 * found, found + other + objects);
  }
};

const setThreshold = (run, index) => {
  const { thresholds, all, classes } = data.runs[run];
  const threshold = thresholds[index];
  const slider = document.getElementById(`threshold-${run}`);
  slider.value = index;
  slider.setAttribute("aria-valuetext", `${threshold}: ${["found", "wrong", "missed"].map((name) => `${count(name, all, index)} ${name}`).join(", ")}`);
  slider.parentElement.querySelector("output").textContent = threshold;
  for (const shown of document.querySelectorAll(`[data-count][data-run="${run}"]`)) {
    const { count: name, label } = shown.dataset;
    shown.textContent = count(name, label === undefined ? all : classes[label], index);
  }
  for (const box of document.querySelectorAll(`.found[data-run="${run}"]`)) {
    box.classList.toggle("below", Number(box.dataset.score) < threshold);
  }
  for (const figure of document.querySelectorAll(".case")) {
    const { score, found } = figure.dataset;
    const isBelow = score !== undefined && Number(score) < threshold;
    const isFound = found !== undefined && Number(found) >= threshold;
    figure.querySelector(".note").hidden = !(isBelow || isFound);
  }
  const chart = data.charts.find((chart) => chart.run === run);
  if (chart) {
    const mark = document.querySelector(`#${chart.id} .mark`);
    for (const end of ["x1", "x2"]) mark.setAttribute(end, place(chart, threshold, chart.y[0])[0]);
  }
};

for (const slider of document.querySelectorAll(".slider input")) {
  slider.addEventListener("input", () => setThreshold(Number(slider.dataset.run), Number(slider.value)));
}
for (const button of document.querySelectorAll(".slider button")) {
  const run = Number(button.dataset.run);
  button.addEventListener("click", () => setThreshold(run, data.runs[run].start));
}

// The filters of the gallery.

const [kinds, classes, shown] = ["kind", "class", "shown"].map((id) => document.getElementById(id));

const filter = () => {
  let [visible, all] = [0, 0];
  for (const kind of document.querySelectorAll(".kind")) {
    kind.hidden = kinds.value !== "" && kind.dataset.kind !== kinds.value;
    for (const figure of kind.querySelectorAll(".case")) {
      figure.hidden = classes.value !== "" && figure.dataset.label !== classes.value;
      all += 1;
      visible += kind.hidden || figure.hidden ? 0 : 1;
    }
  }
  shown.textContent = `${visible} of ${all} pictures`;
};

if (kinds) {
  for (const select of [kinds, classes]) select.addEventListener("change", filter);
}

// Charts answer to the pointer and to the arrow keys.

const place = ({ frame: [left, top, width, height], x, y }, atX, atY) => [
  left + (width * (atX - x[0])) / (x[1] - x[0]),
  top + height * (1 - Math.min(1, Math.max(0, (atY - y[0]) / (y[1] - y[0])))),
];

const element = (parent, name, attributes) => {
  const created = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  parent.append(created);
  return created;
};

const nearest = (values, distance) => values.reduce((best, value, index) => (distance(value) < distance(values[best]) ? index : best), 0);

for (const chart of data.charts) {
  const svg = document.getElementById(chart.id);
  const readout = document.getElementById(`${chart.id}-values`);
  const overlay = element(svg, "g", { "aria-hidden": "true" });
  const dots = chart.kind === "dots";
  const points = chart.series.flatMap((series) => series.points);
  if (points.length === 0) continue;
  // Where the arrow keys stop.
  const stops = dots ? [...points].sort((a, b) => a[0] - b[0]) : [...new Set(points.map(([x]) => x))].sort((a, b) => a - b);
  let current = null;
  svg.setAttribute("role", "application");
  svg.setAttribute("tabindex", "0");

  const clear = () => {
    overlay.replaceChildren();
    readout.textContent = "";
    current = null;
  };
  const show = (index) => {
    current = Math.min(stops.length - 1, Math.max(0, index));
    overlay.replaceChildren();
    const [, top, , height] = chart.frame;
    const x = dots ? stops[current][0] : stops[current];
    const left = place(chart, x, 0)[0];
    element(overlay, "line", { class: "cursor", x1: left, x2: left, y1: top, y2: top + height });
    const texts = [`${chart.x_label} ${x}`];
    chart.series.forEach((series, index) => {
      const point = dots ? stops[current] : series.points.find(([other]) => other === x);
      if (!point) return;
      const [cx, cy] = place(chart, ...point);
      element(overlay, "circle", { class: `dot look-${index % data.looks}`, cx, cy, r: 4 });
      texts.push(`${series.name} ${point[1]}`);
    });
    readout.textContent = texts.join(" · ");
  };

  svg.addEventListener("pointermove", (event) => {
    const matrix = svg.getScreenCTM();
    if (!matrix) return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    show(dots
      ? nearest(stops, (point) => Math.hypot(...place(chart, ...point).map((value, side) => value - [at.x, at.y][side])))
      : nearest(stops, (x) => Math.abs(place(chart, x, 0)[0] - at.x)));
  });
  svg.addEventListener("pointerleave", clear);
  svg.addEventListener("blur", clear);
  svg.addEventListener("keydown", (event) => {
    const large = Math.max(1, Math.round(stops.length / 10));
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageDown: -large, PageUp: large, Home: -stops.length, End: stops.length };
    const step = steps[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    show(current === null ? (step < 0 ? stops.length - 1 : 0) : current + step);
  });
}

data.runs.forEach(({ start }, run) => setThreshold(run, start));
if (kinds) filter();
