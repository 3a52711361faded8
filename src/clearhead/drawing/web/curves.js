// Curves with axes: each in a hue and a dash of its own, named at its end, with a switch; a value is said where it is.

import { draw, make } from "./dom.js";
import { say } from "./language.js";

const DASHES = ["", "7 4", "2 3", "9 3 2 3"];

/** Numbers that divide a range evenly and are short to write. */
export function ticksOf(low, high, most = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) ticks.push(Number((at * step).toPrecision(12)));
  return ticks;
}

/** Draws curves over one axis. */
export function curves(figure, data) {
  const x = data.x ?? data.lines[0].values.map((_, at) => at);
  for (const [number, line] of data.lines.entries()) {
    line.label = say(line.name, {}, data.words);
    line.dash = DASHES[Math.floor(number / data.hues.length) % DASHES.length];
    line.hue = data.hues[number % data.hues.length];
  }
  const axis = say(data.axis, {}, data.words);
  const said = make("p", { class: "said", "aria-live": "polite" }, say("point at a curve, or choose a name, to read its values"));
  const plot = plotted(figure, data, x, axis, (text) => (said.textContent = text));
  const switches = make("div", { class: "switches", role: "group", "aria-label": say("curves") });
  for (const [number, line] of data.lines.entries()) {
    const sample = draw("svg", { viewBox: "0 0 26 8", width: 26, height: 8, "aria-hidden": "true" });
    sample.append(draw("line", { x1: 0, x2: 26, y1: 4, y2: 4, "stroke-width": 2.5, "stroke-dasharray": line.dash }));
    const button = make("button", { type: "button", "aria-pressed": "true", style: { "--hue": line.hue } }, sample, line.label);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      plot.groups[number].classList.toggle("off", !on);
      said.textContent = `${line.label}: ${line.values.map(spoken).join(", ")}`;
    });
    button.addEventListener("pointerenter", () => plot.lift(number));
    button.addEventListener("pointerleave", () => plot.lift(null));
    switches.append(button);
  }
  figure.append(plot.svg, switches, said);
}

function plotted(figure, data, x, axis, tell) {
  const finite = data.lines.flatMap((line) => line.values).filter((value) => value !== null);
  const [least, most] = [Math.min(...finite), Math.max(...finite)];
  // curves that come near 0 begin there; others, as those around 1, have the range that they need
  const low = data.from_zero || (least >= 0 && least < 0.5 * most) ? Math.min(least, 0) : least;
  const high = most > low ? most : low + (Math.abs(low) || 1) * 0.1;
  const wide = Math.max(300, Math.min(760, figure.clientWidth || 620));
  const [tall, left, right, top, bottom] = [280, 52, 14, 10, 40];
  const [first, last] = [x[0], x.at(-1)];
  const across = (value) => left + ((value - first) / (last - first || 1)) * (wide - left - right);
  const down = (value) => top + (1 - (value - low) / (high - low)) * (tall - top - bottom);
  const ends = data.lines.map((line) => say("{line} from {first} to {last}", { line: line.label, first: spoken(line.values[0]), last: spoken(line.values.at(-1)) }));
  const label = `${axis} ${first} ... ${last}: ${ends.join("; ")}`;
  const svg = draw("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img", class: "curves", "aria-label": label });
  for (const value of ticksOf(low, high)) {
    svg.append(draw("line", { x1: left, x2: wide - right, y1: down(value), y2: down(value), class: "tick" }));
    svg.append(draw("text", { x: left - 7, y: down(value) + 4, class: "axis", "text-anchor": "end" }, String(value)));
  }
  const whole = x.every(Number.isInteger);
  const marks = ticksOf(first, last, Math.floor(wide / 90)).filter((value) => !whole || Number.isInteger(value));
  for (const value of marks) {
    svg.append(draw("line", { x1: across(value), x2: across(value), y1: tall - bottom, y2: tall - bottom + 4, class: "tick" }));
    svg.append(draw("text", { x: across(value), y: tall - bottom + 17, class: "axis", "text-anchor": "middle" }, String(value)));
  }
  svg.append(draw("line", { x1: left, x2: wide - right, y1: tall - bottom, y2: tall - bottom, class: "base" }));
  svg.append(draw("line", { x1: left, x2: left, y1: top, y2: tall - bottom, class: "base" }));
  svg.append(draw("text", { x: (left + wide - right) / 2, y: tall - 5, class: "axis", "text-anchor": "middle" }, axis));
  const groups = data.lines.map((line) => {
    const group = draw("g", { class: "line", style: { "--hue": line.hue } });
    const points = line.values.map((value, at) => (value === null ? null : `${across(x[at]).toFixed(1)},${down(value).toFixed(1)}`));
    for (const part of parts(points)) {
      group.append(draw("polyline", { points: part.join(" "), "stroke-dasharray": line.dash }));
    }
    const shownDots = x.length <= 40;
    line.values.forEach((value, at) => {
      if (value === null) return;
      const text = `${line.label}, ${axis} ${x[at]}: ${spoken(value)}`;
      const dot = draw("circle", { cx: across(x[at]), cy: down(value), r: shownDots ? 3.5 : 2 }, draw("title", {}, text));
      dot.addEventListener("pointerenter", () => {
        tell(text);
        lift(data.lines.indexOf(line));
      });
      dot.addEventListener("pointerleave", () => lift(null));
      group.append(dot);
    });
    svg.append(group);
    return group;
  });
  function lift(number) {
    svg.classList.toggle("lit", number !== null);
    groups.forEach((group, at) => group.classList.toggle("on", at === number));
  }
  return { svg, groups, lift };
}

function spoken(value) {
  return value === null || value === undefined ? say("overflow") : String(Number(value.toPrecision(3)));
}

/** Cuts a list at its nulls. */
export function parts(values) {
  const found = [[]];
  for (const value of values) value === null ? found.push([]) : found.at(-1).push(value);
  return found.filter((part) => part.length);
}
