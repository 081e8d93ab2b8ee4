// What a model returns as points and curves, drawn on the canvas of a panel.
import { minus, rgb } from "./view.js";

const SIZE = 560; // widths and radii of layers are given for a panel of so many pixels
const THINNEST = 0.8;

/** Round numbers inside [low, high], about five of them. */
export function ticks([low, high]) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= 0.8 * rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9; i++) found.push(+(i * step).toFixed(6));
  return found;
}

const tickText = (value) => minus(String(value));

/** Where the axes of all panels of a row stand on their canvases of `width` CSS pixels. */
export function placeAxes(panels, width, { family, size }) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = `${size}px ${family}`;
  const widest = (values) => Math.max(...values.map((value) => context.measureText(tickText(value)).width));
  const line = 1.3 * size;
  const some = (label) => panels.some((panel) => panel[label]);
  const left = Math.max(...panels.map((panel) => widest(ticks(panel.ylim)))) + 0.5 * size
    + (some("ylabel") ? line : 0);
  const right = Math.max(...panels.map((panel) => widest(ticks(panel.xlim)))) / 2;
  const top = 0.6 * size;
  const bottom = 1.25 * line + (some("xlabel") ? line : 0);
  const across = Math.max(width - left - right, 20);
  return panels.map(({ aspect = 1 }) => {
    const box = { x: left, y: top, width: across, height: across * aspect };
    return { box, line, size, family, width, height: top + box.height + bottom };
  });
}

class Panel {
  constructor(context, panel, { box, line, size, family }, colour) {
    Object.assign(this, { context, panel, box, line, size, family, colour });
    const [x0, x1] = panel.xlim;
    const [y0, y1] = panel.ylim;
    this.scale = box.width / SIZE;
    this.x = (value) => box.x + ((value - x0) / (x1 - x0)) * box.width;
    this.y = (value) => box.y + ((y1 - value) / (y1 - y0)) * box.height;
  }

  frame() {
    const { context, box, panel, line, size } = this;
    context.strokeStyle = this.colour("line");
    context.lineWidth = 1.5;
    context.strokeRect(box.x, box.y, box.width, box.height);
    context.fillStyle = this.colour("muted");
    context.font = `${size}px ${this.family}`;
    context.textAlign = "center";
    const bottom = box.y + box.height;
    for (const t of ticks(panel.xlim)) context.fillText(tickText(t), this.x(t), bottom + 1.1 * size);
    context.textAlign = "right";
    for (const t of ticks(panel.ylim)) context.fillText(tickText(t), box.x - 0.4 * size, this.y(t) + 0.35 * size);
    context.fillStyle = this.colour("ink");
    context.textAlign = "center";
    if (panel.xlabel) this.write(panel.xlabel, box.x + box.width / 2, bottom + 1.1 * size + line, box.width);
    if (panel.ylabel) {
      context.save();
      context.translate(size, box.y + box.height / 2);
      context.rotate(-Math.PI / 2);
      this.write(panel.ylabel, 0, 0, box.height);
      context.restore();
    }
  }

  /** A label, smaller where it does not fit. */
  write(text, x, y, room) {
    const { context, size, family } = this;
    context.font = `${size}px ${family}`;
    const part = Math.min(1, room / context.measureText(text).width);
    context.font = `${size * part}px ${family}`;
    context.fillText(text, x, y);
  }

  layers(outputs) {
    const { context, box } = this;
    context.save();
    context.beginPath();
    context.rect(box.x, box.y, box.width, box.height);
    context.clip();
    for (const layer of this.panel.layers) {
      const { dims, data } = outputs[layer.output];
      context.strokeStyle = context.fillStyle = this.colour(layer.role);
      context.globalAlpha = layer.alpha;
      context.lineWidth = Math.max(THINNEST, layer.size * this.scale);
      this[layer.kind](data, dims, layer);
    }
    context.restore();
  }

  points(data, dims, { size }) {
    const { context } = this;
    const radius = Math.max(THINNEST, size * this.scale);
    for (let i = 0; i < data.length; i += 2) {
      context.beginPath();
      context.arc(this.x(data[i]), this.y(data[i + 1]), radius, 0, 7);
      context.fill();
    }
  }

  trace(data, from, count) {
    for (let i = 0; i < count; i++) {
      const k = 2 * (from + i);
      this.context.lineTo(this.x(data[k]), this.y(data[k + 1]));
    }
  }

  lines(data, [count, length]) {
    for (let line = 0; line < count; line++) {
      this.context.beginPath();
      this.trace(data, line * length, length);
      this.context.stroke();
    }
  }

  area(data, [length]) {
    const { context, box } = this;
    context.beginPath();
    context.lineTo(this.x(data[0]), box.y + box.height);
    this.trace(data, 0, length);
    context.lineTo(this.x(data[2 * length - 2]), box.y + box.height);
    context.fill();
  }

  polygon(data, [length]) {
    this.context.beginPath();
    this.trace(data, 0, length);
    this.context.fill();
  }

  arrows(data, [count]) {
    const { context } = this;
    for (let i = 0; i < 4 * count; i += 4) {
      const [x, y] = [this.x(data[i]), this.y(data[i + 1])];
      const [tx, ty] = [this.x(data[i] + data[i + 2]), this.y(data[i + 1] + data[i + 3])];
      const [length, angle] = [Math.hypot(tx - x, ty - y), Math.atan2(ty - y, tx - x)];
      const head = Math.min(11 * this.scale, 0.5 * length);
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(tx, ty);
      for (const side of [-0.5, 0.5]) {
        context.moveTo(tx, ty);
        context.lineTo(tx - head * Math.cos(angle + side), ty - head * Math.sin(angle + side));
      }
      context.stroke();
    }
  }

  density(data, [height, width], { role }) {
    const { box } = this;
    const sheet = document.createElement("canvas");
    sheet.width = width;
    sheet.height = height;
    const pixels = new ImageData(width, height);
    const hue = rgb(this.colour(role));
    for (let i = 0; i < width * height; i++) pixels.data.set([...hue, 255 * data[i]], 4 * i);
    sheet.getContext("2d").putImageData(pixels, 0, 0);
    this.context.drawImage(sheet, box.x, box.y, box.width, box.height);
  }
}

/** Draw a panel where `axes` (of placeAxes) put it, `sharp` device pixels to the CSS pixel. */
export function drawPanel(canvas, panel, outputs, axes, { colour, sharp }) {
  canvas.width = Math.round(axes.width * sharp);
  canvas.height = Math.round(axes.height * sharp);
  const context = canvas.getContext("2d");
  context.scale(sharp, sharp);
  context.fillStyle = colour("paper");
  context.fillRect(0, 0, axes.width, axes.height);
  const drawn = new Panel(context, panel, axes, colour);
  drawn.layers(outputs);
  drawn.frame();
}

/** Where a pointer is on a panel: {x in [0, 1] across it, y on its scale, inside}. */
export function placeOnPanel(canvas, panel, { box, width }, event) {
  const bounds = canvas.getBoundingClientRect();
  const scale = width / bounds.width;
  const [low, high] = panel.ylim;
  const x = ((event.clientX - bounds.left) * scale - box.x) / box.width;
  const down = ((event.clientY - bounds.top) * scale - box.y) / box.height;
  const inside = x >= 0 && x <= 1 && down >= 0 && down <= 1;
  return { x, y: high - down * (high - low), inside };
}
