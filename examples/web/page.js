// The page: files, camera, threshold, drawing.

import { Detector } from "./detector.js";

const element = (id) => document.getElementById(id);
const canvas = element("canvas");
const context = canvas.getContext("2d", { willReadFrequently: true });
const video = element("video");

let detector = null;
let picture = null;
let found = [];

function say(text) {
  element("status").textContent = text;
}

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    say(`Error: ${error.message}`);
  }
}

let last = Promise.resolve();

/** Runs one task after the other, so that a detector is not replaced while it detects. */
function queued(work) {
  const next = last.then(work);
  last = next.catch(() => {});
  return next;
}

async function loadModel(file) {
  if (!file) return;
  await queued(() => replaceDetector(file));
  if (picture) await detect(picture);
}

async function replaceDetector(file) {
  const old = detector;
  detector = null;
  found = [];
  element("about").textContent = "Loading";
  await old?.release();
  const providers = new URLSearchParams(location.search).get("providers")?.split(",");
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    detector = await Detector.load(bytes, providers);
  } catch (error) {
    element("about").textContent = "None";
    throw new Error(`${file.name}: ${error.message}`);
  }
  element("about").textContent = `${file.name}: ${detector.classes.length} classes, ${detector.provider}`;
  element("image").disabled = element("camera").disabled = false;
  element("threshold").value = detector.scoreThreshold;
  draw();
}

async function loadImage(file) {
  if (!file) return;
  stopCamera();
  // As `detect`, without color profiles.
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => {
    throw new Error(`${file.name} is not an image`);
  });
  await detect(bitmap);
}

/** Detects in an image, a bitmap or the current frame of the video. */
function detect(source) {
  return queued(() => detectNow(source));
}

async function detectNow(source) {
  if (!detector) throw new Error("choose a detector first");
  // The camera was stopped while the frame waited.
  if (source === video && !video.srcObject) return;
  canvas.width = source.videoWidth ?? source.width;
  canvas.height = source.videoHeight ?? source.height;
  context.drawImage(source, 0, 0);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  const start = performance.now();
  found = await detector.detect(image);
  const milliseconds = performance.now() - start;
  const old = picture;
  picture = source === video ? await createImageBitmap(image) : source;
  if (old && old !== picture) old.close();
  canvas.hidden = false;
  element("hint").hidden = true;
  draw();
  say(`${milliseconds.toFixed(0)} ms`);
  canvas.dataset.milliseconds = milliseconds;
}

/** Draws the detections above the threshold, and lists them. */
function draw() {
  const threshold = Number(element("threshold").value);
  element("value").textContent = threshold.toFixed(2);
  const shown = found.filter(({ score }) => score >= threshold);
  if (picture) {
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(picture, 0, 0);
    const size = Math.max(12, canvas.width / 50);
    context.lineWidth = size / 6;
    context.font = `${size}px system-ui`;
    for (const { class: name, score, box } of shown) {
      const hue = (detector.classes.indexOf(name) * 137.5) % 360;
      const [left, top, right, bottom] = box;
      const label = `${name} ${score.toFixed(2)}`;
      context.strokeStyle = context.fillStyle = `hsl(${hue} 90% 40%)`;
      context.strokeRect(left, top, right - left, bottom - top);
      const base = Math.max(top, size * 1.2);
      context.fillRect(left, base - size * 1.2, context.measureText(label).width + size / 2, size * 1.2);
      context.fillStyle = "white";
      context.fillText(label, left + size / 4, base - size * 0.3);
    }
  }
  element("found").replaceChildren(
    ...shown.map(({ class: name, score, box }) => {
      const row = document.createElement("tr");
      for (const text of [name, score.toFixed(4), box.map((side) => side.toFixed(2)).join(", ")]) {
        row.append(Object.assign(document.createElement("td"), { textContent: text }));
      }
      return row;
    }),
  );
}

function stopCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  element("camera").textContent = "Start camera";
}

async function toggleCamera() {
  if (video.srcObject) {
    stopCamera();
    return;
  }
  element("camera").disabled = true;
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
    await video.play();
  } finally {
    element("camera").disabled = false;
  }
  element("camera").textContent = "Stop camera";
  try {
    while (video.srcObject) {
      await detect(video);
      await new Promise(requestAnimationFrame);
    }
  } finally {
    stopCamera();
  }
}

element("model").addEventListener("change", ({ target }) => guarded(() => loadModel(target.files[0])));
element("image").addEventListener("change", ({ target }) => guarded(() => loadImage(target.files[0])));
element("camera").addEventListener("click", () => guarded(toggleCamera));
element("threshold").addEventListener("input", draw);

const drop = element("drop");
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
  });
}
drop.addEventListener("drop", ({ dataTransfer }) => {
  const [file] = dataTransfer.files;
  if (file) guarded(() => (file.name.endsWith(".onnx") ? loadModel(file) : loadImage(file)));
});
