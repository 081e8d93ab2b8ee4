// What a model returns, in pictures and words.

export function rgb(hex) {
  const n = parseInt(hex.trim().slice(1), 16);
  return [(n >> 16) & 255, (n >> 8) & 255, n & 255];
}

/** Image `index` of a (N, C, H, W) tensor in [0, 1]; one channel runs from paper to ink. */
export function drawImage(canvas, tensor, index, colour) {
  const [, channels, height, width] = tensor.dims;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const [paper, ink] = [rgb(colour("paper")), rgb(colour("ink"))];
  const plane = height * width;
  const start = index * channels * plane;
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) {
      const value = tensor.data[start + (channels === 3 ? c * plane : 0) + i];
      pixels.data[4 * i + c] =
        channels === 3 ? 255 * value : paper[c] + (ink[c] - paper[c]) * value;
    }
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}

export const minus = (text) => text.replace("-", "−");

/** A number with so many decimals; what rounds to zero has no sign. */
const fixed = (value, digits) => minus(value.toFixed(digits).replace(/^-(0(\.0*)?)$/, "$1"));

/** A number with the decimals of the step that it moves by. */
export function show(value, step) {
  let digits = 0;
  while (digits < 3 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6) digits++;
  return fixed(value, digits);
}

/** Name the largest entry of a vector of probabilities, or fill {0}, {1:3} ... with its numbers. */
export function caption(tensor, { text, labels }) {
  const data = Array.from(tensor.data);
  if (!labels) {
    return text.replace(/\{(\d)(?::(\d))?\}/g, (_, i, digits) => fixed(data[i], digits ?? 2));
  }
  const best = data.indexOf(Math.max(...data));
  return text.replace("{label}", labels[best]).replace("{percent}", Math.round(100 * data[best]));
}
