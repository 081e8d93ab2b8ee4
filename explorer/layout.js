// The sizes of picture, pad and controls that fill the place they have.

const NARROW = 21; // em below which nothing stands side by side

export const em = (element) => parseFloat(getComputedStyle(element).fontSize);
export const isNarrow = (frame, width) => width < NARROW * em(frame);

/** The largest number in [low, high] that fits; null where even the lowest does not. */
function largest(low, high, fits) {
  if (high < low || !fits(low)) return null;
  while (high - low > 1) {
    const middle = (low + high) / 2;
    if (fits(middle)) low = middle;
    else high = middle;
  }
  fits(low);
  return low;
}

/**
 * Arrange `parts` {frame, stage, padBox, controls, words} within `width` x `height` CSS pixels.
 * `sizeViews(width of the stage)` sizes the pictures. Picture beside controls, picture, pad and
 * controls in a row, or controls below: whichever leaves picture and pad largest.
 */
export function arrange({ frame, stage, padBox, controls }, { width, height }, sizeViews) {
  const unit = em(frame);
  const gap = parseFloat(getComputedStyle(frame).columnGap);
  const narrowest = parseFloat(getComputedStyle(frame).getPropertyValue("--controls")) * unit;
  const tall = (element) => element.offsetHeight;
  const across = (pixels) => {
    frame.style.setProperty("--stage", `${pixels}px`);
    sizeViews(pixels);
  };
  const setPad = (pixels) => frame.style.setProperty("--pad", `${pixels}px`);
  const padNow = () => parseFloat(frame.style.getPropertyValue("--pad"));
  const within = () => tall(frame) <= height;
  const ways = {
    column(pixels) {
      across(pixels);
      const side = width - pixels - gap;
      if (side < narrowest) return false;
      if (padBox) {
        setPad(0);
        const rest = height - tall(padBox) - tall(controls) - 0.5 * unit;
        setPad(Math.min(side, Math.max(rest, 8 * unit), tall(stage)));
      }
      return within();
    },
    row(pixels) {
      across(pixels);
      setPad(tall(stage));
      return pixels + tall(stage) + narrowest + 2 * gap <= width && within();
    },
    below(pixels) {
      across(pixels);
      setPad(tall(stage));
      return pixels + (padBox ? tall(stage) + gap : 0) <= width && within();
    },
    stack(pixels) {
      across(pixels);
      setPad(Math.min(pixels, 15 * unit));
      return true;
    },
  };
  const names = isNarrow(frame, width) ? ["stack"] : ["column", ...(padBox ? ["row"] : []), "below"];
  let best = null;
  for (const name of names) {
    frame.dataset.arrangement = name;
    const found = largest(name === "stack" ? width : 8 * unit, width, ways[name]);
    if (found === null) continue;
    const size = Math.sqrt(found * tall(stage)) + (padBox ? padNow() : 0);
    if (!best || size > best.size) best = { name, found, size };
  }
  const { name, found } = best ?? { name: "below", found: 8 * unit };
  frame.dataset.arrangement = name;
  ways[name](found);
}
