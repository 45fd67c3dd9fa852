// From a file or a camera to the pixels that the network takes: upright, on white, 8-bit RGB.

import { resize } from "./resize.js";

/** Decodes an image file, without changing its colours. */
export async function decode(file) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  try {
    return await createImageBitmap(file, options);
  } catch {
    throw new Error("this browser cannot read it as an image");
  }
}

/**
 * Returns the pixels of a picture, resized if it is large, as the runtime of Python does.
 * @param source What a canvas can draw.
 * @param size Width and height.
 * @param preparing From model.json.
 * @returns {{pixels: Uint8Array, width: number, height: number}} RGB.
 */
export function prepare(source, size, preparing) {
  const [width, height] = size;
  if (width * height > preparing.most_pixels) {
    const limit = preparing.most_pixels.toLocaleString("en");
    throw new Error(`it has ${width} x ${height} pixels, more than the limit of ${limit}`);
  }
  const read = partReader(source);
  if (width * height <= preparing.large_pixels) {
    return { pixels: withoutAlpha(read(0, 0, width, height)), width, height };
  }
  const [left, across] = middle(width, height, preparing.longest);
  const [top, down] = middle(height, width, preparing.longest);
  const shorter = Math.min(across, down);
  const to = [across, down].map((side) => Math.floor((preparing.short * side) / shorter));
  const part = (x, y, w, h) => read(left + x, top + y, w, h);
  const resized = resize(part, [across, down], to, preparing.interpolation, preparing.tall_first);
  return { pixels: new Uint8Array(resized.buffer), width: to[0], height: to[1] };
}

/** Returns where the kept middle of a side begins, and its length: very long pictures are cut. */
function middle(length, other, longest) {
  const kept = Math.min(length, other * longest + (length % 2));
  return [Math.floor((length - kept) / 2), kept];
}

function partReader(source) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  return (left, top, width, height) => {
    canvas.width = width;
    canvas.height = height;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.drawImage(source, left, top, width, height, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
}

function withoutAlpha(rgba) {
  const pixels = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    pixels[to] = rgba[from];
    pixels[to + 1] = rgba[from + 1];
    pixels[to + 2] = rgba[from + 2];
  }
  return pixels;
}
