// Attention: all heads to choose from, and the chosen one as a map and as arcs, in the colours of one scale.

import { arcs } from "./arcs.js";
import { legend, paint } from "./colour.js";
import { breakable, make, roving, styled } from "./dom.js";
import { onTheme, percent, say } from "./language.js";
import { term } from "./terms.js";

function unpack(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Draws all heads of all modules, and one of them in full. */
export function attention(figure, data) {
  const panels = data.panels.map((panel) => ({ ...panel, words: data.words ?? {}, maps: panel.weights.map(unpack) }));
  const large = make("div", { class: "whole" });
  const said = make("p", { class: "said", "aria-live": "polite" });
  const facts = make("p", { class: "facts" });
  const choices = make("div", { class: "heads", role: "group", "aria-label": say("heads of all layers") });
  const buttons = [];
  const small = [];
  let start = null;

  function choose(panel, head, button) {
    for (const one of buttons) one.setAttribute("aria-pressed", String(one === button));
    const tell = (text) => (said.textContent = text);
    const drawn = arcs(panel, panel.maps[head], tell);
    const map = whole(panel, panel.maps[head], (row, text) => {
      tell(text);
      drawn.light(row);
    });
    large.replaceChildren(map, drawn.element);
    facts.replaceChildren(...described(panel, head));
    said.textContent = say("point at a cell or a piece, or go through the cells by the arrow keys");
  }

  panels.forEach((panel, number) => {
    const kind = say(panel.kind, {}, panel.words);
    const row = make("div", { class: "row" }, make("span", { class: "name" }, ...breakable(`${panel.name} (${kind})`)));
    panel.maps.forEach((weights, head) => {
      const canvas = make("canvas", { "aria-hidden": "true" });
      const label = `${panel.name}, ${say(panel.captions[head], {}, panel.words)}`;
      const button = make(
        "button",
        { type: "button", title: label, "aria-label": label, "aria-pressed": "false", tabindex: buttons.length ? -1 : 0 },
        canvas,
      );
      button.addEventListener("click", () => choose(panel, head, button));
      small.push(() => paint(canvas, weights, panel.queries.length, panel.keys.length));
      buttons.push(button);
      row.append(button);
      if (number === data.focus.at(-1) && head === data.shown[number]) start = [panel, head, button];
    });
    choices.append(row);
  });
    const most = Math.max(...panels.map((panel) => panel.maps.length));
  const left = make("div", { class: "side", style: { "--heads": most } }, legend(say("share of a row's attention")), choices);
  roving(choices, buttons, most);
  figure.append(make("div", { class: "pair" }, left, make("div", { class: "chosen" }, facts, said, large)));
  onTheme(choices, () => small.forEach((again) => again()));
  choose(...(start ?? [panels[0], 0, buttons[0]]));
}

/** What a head is and does, its words explained. */
function described(panel, head) {
  const told = [make("strong", {}, ...breakable(panel.name)), " ", say("head {head}", { head })];
  const facts = panel.facts?.[head];
  if (!facts) return told;
  told.push(" · ", term("type", say(facts.type, {}, panel.words)), ` ${percent(facts.share)}`);
  told.push(" · ", term("entropy", say("entropy")), ` ${facts.entropy.toFixed(2)}`);
  if (facts.loss === null) return told;
  const loss = `${facts.loss < 0 ? "−" : "+"}${Math.abs(facts.loss).toFixed(3)}`;
  told.push(" · ", term("loss without", say("loss without")), ` ${loss}`);
  told.push(" · ", term("divergence", say("divergence")), ` ${facts.divergence.toFixed(3)}`);
  return told;
}

/** The map of one head: a grid of cells with the pieces beside it, and what each cell says. */
function whole(panel, weights, point) {
  const [queries, keys] = [panel.queries.length, panel.keys.length];
  const canvas = make("canvas", { role: "img", tabindex: 0, "aria-label": strongest(panel, weights) });
  onTheme(canvas, () => paint(canvas, weights, queries, keys));
  const marker = make("div", { class: "marker", hidden: true });
  const down = make("div", { class: "queries", "aria-hidden": "true" }, ...panel.queries.map((piece) => make("span", {}, piece)));
  const across = make("div", { class: "keys", "aria-hidden": "true" }, ...panel.keys.map((piece) => make("span", {}, piece)));
  let [row, column] = [0, 0];

  function tell() {
    const share = percent(weights[row * keys + column] / 255);
    const values = { query: panel.queries[row], key: panel.keys[column], share, row: row + 1, column: column + 1 };
    point(row, say("{query} looks at {key}: {share} (row {row}, column {column})", values));
    marker.hidden = false;
    styled(marker, { left: `${(100 * column) / keys}%`, top: `${(100 * row) / queries}%` });
    styled(marker, { width: `${100 / keys}%`, height: `${100 / queries}%` });
    [...down.children].forEach((one, at) => one.classList.toggle("on", at === row));
    [...across.children].forEach((one, at) => one.classList.toggle("on", at === column));
  }

  function aim(event) {
    const box = canvas.getBoundingClientRect();
    column = Math.min(keys - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * keys)));
    row = Math.min(queries - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * queries)));
    tell();
  }

  canvas.addEventListener("pointermove", aim);
  canvas.addEventListener("pointerdown", aim); // a finger points by touching
  canvas.addEventListener("focus", tell);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    row = Math.min(queries - 1, Math.max(0, row + step[0]));
    column = Math.min(keys - 1, Math.max(0, column + step[1]));
    tell();
  });
  const size = Math.max(6, Math.min(34, Math.floor(560 / Math.max(queries, keys))));
  const grid = make("div", { class: "grid" }, down, make("div", { class: "plot" }, canvas, marker), make("span"), across);
  styled(grid, { "--cell": `${size}px`, "--queries": queries, "--keys": keys });
  return make("div", { class: "map" }, grid);
}

/** Says where most of a head's attention goes, for those who do not see it. */
function strongest(panel, weights) {
  const keys = panel.keys.length;
  const found = panel.queries.slice(0, 40).map((piece, row) => {
    let best = 0;
    for (let at = 1; at < keys; at++) if (weights[row * keys + at] > weights[row * keys + best]) best = at;
    const share = percent(weights[row * keys + best] / 255);
    return say("{query} looks most at {key}, {share}", { query: piece, key: panel.keys[best], share });
  });
  return `${found.join("; ")}.`;
}
