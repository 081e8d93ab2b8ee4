// What a model returns as points and curves, drawn on a canvas: one or two panels side by side.
import { rgb } from "./view.js";

const SIZE = 560; // device pixels across one panel
const MARGIN = { left: 54, right: 14, top: 38, bottom: 54 };

/** At most five round numbers inside [low, high]. */
function ticks([low, high]) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= 0.8 * rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + 1e-9; i++) found.push(+(i * step).toFixed(6));
  return found;
}

class Panel {
  constructor(context, panel, left, { colour, font }) {
    Object.assign(this, { context, panel, colour, font });
    const height = SIZE * (panel.aspect ?? 1);
    this.box = { x: left + MARGIN.left, y: MARGIN.top, width: SIZE, height };
    const [x0, x1] = panel.xlim;
    const [y0, y1] = panel.ylim;
    this.x = (value) => this.box.x + ((value - x0) / (x1 - x0)) * SIZE;
    this.y = (value) => this.box.y + ((y1 - value) / (y1 - y0)) * height;
  }

  frame() {
    const { context, box, panel } = this;
    context.strokeStyle = this.colour("line");
    context.lineWidth = 2;
    context.strokeRect(box.x, box.y, box.width, box.height);
    context.fillStyle = this.colour("muted");
    context.font = `22px ${this.font}`;
    context.textAlign = "center";
    const text = (value) => String(value).replace("-", "−");
    for (const t of ticks(panel.xlim)) context.fillText(text(t), this.x(t), box.y + box.height + 24);
    if (panel.xlabel) context.fillText(panel.xlabel, box.x + box.width / 2, box.y + box.height + 48);
    context.textAlign = "right";
    for (const t of ticks(panel.ylim)) context.fillText(text(t), box.x - 8, this.y(t) + 7);
    context.textAlign = "left";
    if (panel.ylabel) context.fillText(panel.ylabel, box.x + 8, box.y + 24);
    context.fillStyle = this.colour("ink");
    context.font = `600 24px ${this.font}`;
    if (panel.title) context.fillText(panel.title, box.x, box.y - 11);
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
      context.lineWidth = layer.size;
      this[layer.kind](data, dims, layer);
    }
    context.restore();
  }

  points(data, dims, { size }) {
    const { context } = this;
    for (let i = 0; i < data.length; i += 2) {
      context.beginPath();
      context.arc(this.x(data[i]), this.y(data[i + 1]), size, 0, 7);
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
      const head = Math.min(11, 0.5 * length);
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
    const sheet = new OffscreenCanvas(width, height);
    const pixels = new ImageData(width, height);
    const hue = rgb(this.colour(role));
    for (let i = 0; i < width * height; i++) {
      pixels.data.set([...hue, 255 * data[i]], 4 * i);
    }
    sheet.getContext("2d").putImageData(pixels, 0, 0);
    this.context.drawImage(sheet, box.x, box.y, box.width, box.height);
  }
}

/** Where a pointer is on a panel: {x in [0, 1] across it, y on its scale, inside}. */
export function placeOnPanel(canvas, panels, index, event) {
  const bounds = canvas.getBoundingClientRect();
  const scale = canvas.width / bounds.width;
  const { aspect = 1, ylim: [low, high] } = panels[index];
  const step = SIZE + MARGIN.left + MARGIN.right;
  const x = ((event.clientX - bounds.left) * scale - index * step - MARGIN.left) / SIZE;
  const down = ((event.clientY - bounds.top) * scale - MARGIN.top) / (SIZE * aspect);
  const inside = x >= 0 && x <= 1 && down >= 0 && down <= 1;
  return { x, y: high - down * (high - low), inside };
}

/** Draw all panels; `look.colour(role)` gives the colour of a role in the present room. */
export function drawPanels(canvas, outputs, panels, look) {
  const step = SIZE + MARGIN.left + MARGIN.right;
  const tallest = Math.max(...panels.map((panel) => panel.aspect ?? 1));
  canvas.width = step * panels.length;
  canvas.height = SIZE * tallest + MARGIN.top + MARGIN.bottom;
  const context = canvas.getContext("2d");
  context.fillStyle = look.colour("paper");
  context.fillRect(0, 0, canvas.width, canvas.height);
  panels.forEach((panel, i) => {
    const drawn = new Panel(context, panel, i * step, look);
    drawn.layers(outputs);
    drawn.frame();
  });
}
