// A detector exported with `fcos-burn export --format onnx`.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.all.bundle.min.mjs";

ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;
// Threads need a page that is isolated from other origins.
ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

export class Detector {
  /** Loads a detector from the bytes of its file. `providers` are tried in order. */
  static async load(bytes, providers) {
    const metadata = readMetadata(bytes);
    if (metadata.outputs !== "detections" || metadata.pixels !== "rgb-bytes") {
      throw new Error("not exported with outputs 'detections' and RGB input");
    }
    const available = providers ?? (navigator.gpu ? ["webgpu", "wasm"] : ["wasm"]);
    for (const [index, provider] of available.entries()) {
      try {
        const options = { executionProviders: [provider], logSeverityLevel: 3 };
        const session = await ort.InferenceSession.create(bytes, options);
        return new Detector(session, metadata, provider);
      } catch (error) {
        if (index + 1 === available.length) throw error;
      }
    }
  }

  constructor(session, metadata, provider) {
    this.session = session;
    this.provider = provider;
    this.classes = JSON.parse(metadata.class_names);
    this.resize = JSON.parse(metadata.resize);
    this.antialiased = metadata.interpolation === "antialiased";
    this.scoreThreshold = Number(metadata.detect_score_threshold ?? 0.3);
  }

  /** Frees its memory. It cannot detect afterward. */
  release() {
    return this.session.release();
  }

  /** Detects objects in `ImageData`. Boxes are left, top, right, bottom in its pixels. */
  async detect(image) {
    const [width, height] = inputSize(this.resize, image.width, image.height);
    const planes = resized(image, width, height, this.antialiased);
    const images = new ort.Tensor("float32", planes, [1, 3, height, width]);
    const { boxes, scores, labels, counts } = await this.session.run({ images });
    const scale = [image.width / width, image.height / height];
    return Array.from({ length: Number(counts.data[0]) }, (_, row) => ({
      class: this.classes[Number(labels.data[row])],
      score: scores.data[row],
      box: [0, 1, 2, 3].map((side) => boxes.data[4 * row + side] * scale[side % 2]),
    }));
  }
}

/** The size of the network's input for an image. */
function inputSize(resize, width, height) {
  if (resize.fixed) return [resize.fixed.width, resize.fixed.height];
  const { short, long } = resize.short_side;
  const factor = Math.min(short / Math.min(width, height), long / Math.max(width, height));
  return [width, height].map((side) => Math.max(Math.trunc(side * factor), 1));
}

/**
 * Resizes bilinearly: red, green and blue plane, from 0 to 255. With antialiasing, the bytes are those of the detector's
 * own preprocessing: it resizes columns first, rounds after each pass, and has weights of as many bits as fit 16.
 */
function resized(image, width, height, antialiased) {
  const columns = filter(image.width, width, antialiased);
  const rows = filter(image.height, height, antialiased);
  const pixel = (sum, { half, shift }) => (antialiased ? Math.min((sum + half) >> shift, 255) : sum);
  const planes = new Float32Array(3 * width * height);
  const row = new Float32Array(image.width);
  for (let channel = 0; channel < 3; channel++) {
    for (const [y, { start: top, weights: down }] of rows.windows.entries()) {
      for (let x = 0; x < image.width; x++) {
        let sum = 0;
        for (let i = 0; i < down.length; i++) {
          sum += down[i] * image.data[4 * ((top + i) * image.width + x) + channel];
        }
        row[x] = pixel(sum, rows);
      }
      for (const [x, { start: left, weights: across }] of columns.windows.entries()) {
        let sum = 0;
        for (let i = 0; i < across.length; i++) sum += across[i] * row[left + i];
        planes[(channel * height + y) * width + x] = pixel(sum, columns);
      }
    }
  }
  return planes;
}

/** For each new pixel of a row or column, the first old pixel that it covers and the weights from there on. */
function filter(from, to, antialiased) {
  const scale = from / to;
  const reach = antialiased ? Math.max(scale, 1) : 1;
  const windows = Array.from({ length: to }, (_, index) => {
    const center = (index + 0.5) * scale;
    const start = Math.max(Math.floor(center - reach), 0);
    const end = Math.min(Math.ceil(center + reach), from);
    const weights = [];
    for (let pixel = start; pixel < end; pixel++) {
      weights.push(Math.max(1 - Math.abs((pixel + 0.5 - center) / reach), 0));
    }
    const sum = weights.reduce((a, b) => a + b, 0);
    return { start, weights: weights.map((weight) => weight / sum) };
  });
  if (!antialiased) return { windows };
  const largest = windows.reduce((most, { weights }) => Math.max(most, ...weights), 0);
  let shift = 0;
  while (shift < 21 && Math.round(largest * 2 ** (shift + 1)) < 2 ** 15) shift += 1;
  const whole = (weight) => Math.round(weight * 2 ** shift);
  return {
    windows: windows.map(({ start, weights }) => ({ start, weights: weights.map(whole) })),
    half: 2 ** (shift - 1),
    shift,
  };
}

/** The metadata of an ONNX file, which onnxruntime-web does not give: field 14 of `ModelProto`. */
function readMetadata(bytes) {
  const text = new TextDecoder();
  const metadata = {};
  for (const entry of fields(bytes)) {
    if (entry.number !== 14) continue;
    const parts = {};
    for (const part of fields(entry.bytes)) parts[part.number] = text.decode(part.bytes);
    metadata[parts[1]] = parts[2];
  }
  return metadata;
}

/** The fields of a protobuf message that have a length. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("not an ONNX file");
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    switch (key & 7) {
      case 0:
        varint();
        break;
      case 1:
        at += 8;
        break;
      case 2: {
        const length = varint();
        yield { number: key >>> 3, bytes: bytes.subarray(at, at + length) };
        at += length;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        throw new Error("not an ONNX file");
    }
  }
}
