// The attention of one head as arcs: queries on the left, keys on the right, a line for each weight that counts.

import { shadeOf } from "./colour.js";
import { draw, make } from "./dom.js";
import { onTheme, percent, say } from "./language.js";

const [LINE, TOP, MOST, LEAST] = [24, 30, 64, 0.02];

/** Returns the arcs, and what lights those of one query. */
export function arcs(panel, weights, tell) {
  const keys = panel.keys.length;
  const [rows, columns] = [Math.min(panel.queries.length, MOST), Math.min(keys, MOST)];
  const wide = 340;
  const [from, to] = [120, wide - 120];
  const tall = TOP + LINE * Math.max(rows, columns) + 4;
  const y = (at) => TOP + LINE * at + LINE / 2;
  const svg = draw("svg", { viewBox: `0 0 ${wide} ${tall}`, class: "arcs", "aria-hidden": "true" });
  svg.append(draw("text", { x: from - 8, y: 14, "text-anchor": "end", class: "axis" }, say("queries")));
  svg.append(draw("text", { x: to + 8, y: 14, class: "axis" }, say("keys")));
  const lines = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const weight = weights[row * keys + column] / 255;
      if (weight < LEAST) continue;
      const curve = `M${from} ${y(row)} C${from + 50} ${y(row)} ${to - 50} ${y(column)} ${to} ${y(column)}`;
      const line = draw("path", { d: curve, "stroke-width": 1 + 4 * weight, "data-row": row });
      lines.push({ line, weight, row });
    }
  }
  lines.sort((a, b) => a.weight - b.weight); // the strongest is drawn last, above the others
  svg.append(...lines.map((one) => one.line));
  onTheme(svg, () => lines.forEach((one) => one.line.setAttribute("stroke", shadeOf(one.weight))));

  const names = panel.queries.slice(0, rows).map((piece, row) => {
    const name = draw("text", { x: from - 8, y: y(row) + 4, "text-anchor": "end", class: "query" }, short(piece));
    name.addEventListener("pointerenter", () => {
      light(row);
      tell(told(panel, weights, row));
    });
    name.addEventListener("pointerleave", () => light(null));
    return name;
  });
  const ends = panel.keys.slice(0, columns).map((piece, column) => draw("text", { x: to + 8, y: y(column) + 4 }, short(piece)));
  svg.append(...names, ...ends);

  function light(row) {
    svg.classList.toggle("lit", row !== null);
    for (const one of lines) one.line.classList.toggle("on", one.row === row);
    names.forEach((name, at) => name.classList.toggle("on", at === row));
    ends.forEach((end, at) => end.classList.toggle("on", row !== null && weights[row * keys + at] / 255 >= 0.1));
  }
  return { element: make("div", { class: "arched" }, svg), light };
}

/** The keys that one query looks at most, in words. */
function told(panel, weights, row) {
  const keys = panel.keys.map((piece, at) => ({ piece, share: weights[row * panel.keys.length + at] / 255 }));
  const best = keys.sort((a, b) => b.share - a.share).slice(0, 3);
  const list = best.map((key) => `${key.piece} ${percent(key.share)}`).join(", ");
  return say("{query} looks at {keys}", { query: panel.queries[row], keys: list });
}

function short(piece) {
  const letters = [...piece];
  return letters.length > 14 ? `${letters.slice(0, 13).join("")}…` : piece;
}
