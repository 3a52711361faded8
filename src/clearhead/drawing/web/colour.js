// The one scale of colours that weights have, its legend, and maps painted with it.

import { make, styled } from "./dom.js";
import { isDark, onTheme, percent, say, scaleOf } from "./language.js";

/** Where a weight from 0 to 1 stands on the scale: at its square root, so that small ones are seen too. */
export function placeOf(weight) {
  return Math.sqrt(Math.min(Math.max(weight, 0), 1));
}

/** The red, green and blue of a weight, between the two stops that it lies between. */
export function mixed(weight, stops) {
  const at = placeOf(weight) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  const [a, b] = [stops[low], stops[low + 1]].map((stop) => [1, 3, 5].map((from) => parseInt(stop.slice(from, from + 2), 16)));
  return a.map((from, hue) => Math.round(from + (at - low) * (b[hue] - from)));
}

export function stopsNow() {
  return isDark() ? scaleOf().dark : scaleOf().light;
}

/** The colour of a weight on the page as it is now. */
export function shadeOf(weight) {
  return `rgb(${mixed(weight, stopsNow()).join(" ")})`;
}

/** Paints weights 0..255 of [queries, keys] on a canvas, one pixel each, to be scaled. */
export function paint(canvas, weights, queries, keys) {
  canvas.width = keys;
  canvas.height = queries;
  const context = canvas.getContext("2d");
  const image = context.createImageData(keys, queries);
  const colours = Array.from({ length: 256 }, (_, weight) => mixed(weight / 255, stopsNow()));
  weights.forEach((weight, at) => image.data.set([...colours[weight], 255], 4 * at));
  context.putImageData(image, 0, 0);
}

/** The legend of the scale: its colours, and the weights at some places. */
export function legend(title) {
  const bar = make("canvas", { "aria-hidden": "true" });
  const marks = scaleOf().marks;
  onTheme(bar, () => paint(bar, Array.from({ length: 256 }, (_, at) => Math.round(255 * (at / 255) ** 2)), 1, 256));
  const ticks = marks.map((mark) => styled(make("span", {}, percent(mark)), { left: `${100 * placeOf(mark)}%` }));
  const told = say("from {low} to {high}, evenly by the square root", { low: percent(marks[0]), high: percent(marks.at(-1)) });
  return make(
    "div",
    { class: "legend", role: "img", "aria-label": `${title}: ${told}` },
    make("span", {}, title),
    make("div", { class: "scale" }, bar, make("div", { class: "ticks" }, ...ticks)),
  );
}
