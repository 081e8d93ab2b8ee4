// What a model returns, drawn on a canvas.

export function rgb(hex) {
  const n = parseInt(hex.trim().slice(1), 16);
  return [(n >> 16) & 255, (n >> 8) & 255, n & 255];
}

/** A (N, C, H, W) tensor in [0, 1] as a row of images; one channel runs from paper to ink. */
export function drawImage(canvas, tensor, colour) {
  const [count, channels, height, width] = tensor.dims;
  const gap = count > 1 ? 1 : 0;
  const total = count * (width + gap) - gap;
  if (canvas.width !== total || canvas.height !== height) {
    canvas.width = total;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  const paper = rgb(colour("paper"));
  const ink = rgb(colour("ink"));
  const plane = height * width;
  context.clearRect(0, 0, total, height);
  for (let image = 0; image < count; image++) {
    const pixels = context.createImageData(width, height);
    const start = image * channels * plane;
    for (let i = 0; i < plane; i++) {
      for (let c = 0; c < 3; c++) {
        const value = tensor.data[start + (channels === 3 ? c * plane : 0) + i];
        pixels.data[4 * i + c] =
          channels === 3 ? 255 * value : paper[c] + (ink[c] - paper[c]) * value;
      }
      pixels.data[4 * i + 3] = 255;
    }
    context.putImageData(pixels, image * (width + gap), 0);
  }
}

/** Name the largest entry of a vector of probabilities, or fill {0}, {1} ... with its numbers. */
export function caption(tensor, { text, labels }) {
  const data = Array.from(tensor.data);
  if (!labels) return text.replace(/\{(\d)\}/g, (_, i) => data[i].toFixed(2).replace("-", "−"));
  const best = data.indexOf(Math.max(...data));
  return text.replace("{label}", labels[best]).replace("{percent}", Math.round(100 * data[best]));
}
