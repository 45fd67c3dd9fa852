// Resizes large pictures exactly as pillow does (8 bits, weights of 22 bits), a strip at a time, so that a photograph of
// any camera fits into memory. The network's own first nodes do the same to smaller ones.

const PRECISION = 22; // bits of a weight
const STRIP_PIXELS = 2 ** 20;

const FILTERS = {
  bilinear: { reach: 1, weight: (x) => Math.max(1 - Math.abs(x), 0) },
  bicubic: {
    reach: 2,
    weight: (x) => {
      const a = -0.5;
      const far = Math.abs(x);
      if (far < 1) return ((a + 2) * far - (a + 3)) * far * far + 1;
      return far < 2 ? (((far - 5) * far + 8) * far - 4) * a : 0;
    },
  },
};

/** For each of `to` pixels: the first of the `from` pixels that it is made of, and their weights. */
function pixelWeights(from, to, filter) {
  const scale = from / to;
  if (filter === "nearest") {
    const found = [];
    for (let place = scale * 0.5; found.length < to; place += scale) {
      found.push({ first: Math.trunc(place), weights: Int32Array.of(2 ** PRECISION) });
    }
    return found;
  }
  const { reach, weight } = FILTERS[filter];
  const wide = Math.max(scale, 1);
  return Array.from({ length: to }, (_, index) => {
    const centre = (index + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - reach * wide + 0.5), 0);
    const last = Math.min(Math.trunc(centre + reach * wide + 0.5), from);
    const shares = Array.from({ length: last - first }, (_, at) => weight((at + first - centre + 0.5) / wide));
    const sum = shares.reduce((total, share) => total + share, 0);
    const weights = shares.map((share) => Math.trunc((share / sum) * 2 ** PRECISION + Math.sign(share) * 0.5));
    return { first, weights: Int32Array.from(weights) };
  });
}

/** Resizes one axis: `lines` lines, `line` bytes apart, of pixels that are `step` bytes apart. */
function resizeAxis(pixels, lines, line, step, weights, result, resultLine, resultStep) {
  for (let number = 0; number < lines; number += 1) {
    for (let index = 0; index < weights.length; index += 1) {
      const { first, weights: shares } = weights[index];
      for (let colour = 0; colour < 3; colour += 1) {
        let sum = 2 ** (PRECISION - 1);
        let at = number * line + first * step + colour;
        for (let tap = 0; tap < shares.length; tap += 1, at += step) sum += pixels[at] * shares[tap];
        result[number * resultLine + index * resultStep + colour] = sum >> PRECISION; // clamped by the array
      }
    }
  }
}

/**
 * Resizes a picture.
 * @param read Returns the RGBA bytes of a part: (left, top, width, height).
 * @param from Width and height of the picture.
 * @param to Width and height wanted.
 * @param filter "nearest", "bilinear" or "bicubic".
 * @param tallFirst Whether a tall picture is resized vertically first, as the pillow of the export did.
 * @returns RGB bytes.
 */
export function resize(read, [width, height], [wide, high], filter, tallFirst) {
  const across = pixelWeights(width, wide, filter);
  const down = pixelWeights(height, high, filter);
  const result = new Uint8ClampedArray(wide * high * 3);
  if (tallFirst && filter !== "nearest" && high < height && height - high > 2 * (width - wide)) {
    const between = new Uint8ClampedArray(width * high * 3);
    const most = Math.max(Math.floor(STRIP_PIXELS / height), 1);
    for (let left = 0; left < width; left += most) {
      const count = Math.min(most, width - left);
      const part = between.subarray(left * 3);
      resizeAxis(read(left, 0, count, height), count, 4, count * 4, down, part, 3, width * 3);
    }
    resizeAxis(between, high, width * 3, 3, across, result, wide * 3, 3);
    return result;
  }
  const between = new Uint8ClampedArray(wide * height * 3);
  const most = Math.max(Math.floor(STRIP_PIXELS / width), 1);
  for (let top = 0; top < height; top += most) {
    const count = Math.min(most, height - top);
    const part = between.subarray(top * wide * 3);
    resizeAxis(read(0, top, width, count), count, width * 4, 4, across, part, wide * 3, 3);
  }
  resizeAxis(between, wide, 3, wide * 3, down, result, 3, wide * 3);
  return result;
}
