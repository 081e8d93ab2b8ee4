// What a model returns as sound: a WAV made here, played once the reader has asked for it.
import { button } from "./dom.js";

const FADE = 0.005; // seconds at both ends, so that nothing clicks
const LOUDEST = 32767;

// Every widget of a notebook brings this module anew; one sound at a time is heard on its page.
const page = (globalThis[Symbol.for("lecture sound")] ??= { heard: null });

/** Samples in [-1, 1] as a WAV of 16 bits, mono. What reaches further is made softer as a whole. */
export function wav(samples, rate) {
  const [fade, last] = [FADE * rate, samples.length - 1];
  const peak = samples.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const sound = Int16Array.from(samples, (value, i) =>
    Math.round((LOUDEST * Math.min(1, i / fade, (last - i) / fade) * value) / peak));
  const u16 = (...numbers) => Uint16Array.from(numbers);
  const u32 = (...numbers) => Uint32Array.from(numbers);
  const format = [u32(16), u16(1, 1), u32(rate, 2 * rate), u16(2, 16)]; // PCM, mono, 2 bytes a sample
  const parts = ["RIFF", u32(36 + sound.byteLength), "WAVEfmt ", ...format, "data", u32(sound.byteLength), sound];
  return new Blob(parts, { type: "audio/wav" });
}

/** A button that plays an output of the explorer; pressed once, each rest of the values plays anew. */
export class Sound {
  constructor(explorer, { output, rate }) {
    Object.assign(this, { explorer, output, rate, wanted: false, audio: new Audio() });
    this.button = button("listen", "hear these values (Enter)", () => this.toggle());
    this.button.className = "listen";
    for (const name of ["play", "pause"]) this.audio.addEventListener(name, () => this.refresh());
    this.audio.addEventListener("error", () => this.fail(this.audio.error));
    this.refresh();
  }

  refresh() {
    this.button.textContent = this.audio.paused ? "listen" : "stop";
    this.button.setAttribute("aria-pressed", String(!this.audio.paused));
  }

  toggle() {
    this.wanted = this.audio.paused;
    if (this.wanted) this.play();
    else this.silence();
  }

  async play() {
    const { explorer, audio } = this;
    const turn = this.turn = {}; // another one once something moves
    await explorer.drawing;
    if (turn !== this.turn) return;
    page.heard?.pause();
    page.heard = audio;
    URL.revokeObjectURL(audio.src);
    audio.src = URL.createObjectURL(wav(explorer.latest[this.output].data, this.rate));
    audio.play().catch((error) => { if (error.name !== "AbortError") this.fail(error); });
  }

  silence() {
    this.turn = null;
    this.audio.pause();
  }

  remove() {
    this.silence();
    URL.revokeObjectURL(this.audio.src);
  }

  fail(error) {
    this.wanted = false;
    this.silence();
    this.explorer.say("The sound did not start here.", { shown: true });
    console.error("explorer", this.explorer.spec.name, error);
  }
}
