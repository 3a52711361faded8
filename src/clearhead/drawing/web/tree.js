// The tree of a beam search: steps to the right, the best candidate on top, and why each hypothesis went no further.

import { draw, make, table } from "./dom.js";
import { say } from "./language.js";
import { term } from "./terms.js";

const [WIDE, HIGH, LEFT, TOP] = [100, 27, 8, 24];
const MANY = 600; // candidates, above which those that were not kept wait until they are asked for
const UNKEPT = new Set(["not kept", "late end"]);
const ENDED = new Set(["finished", "pushed out", "same text", "late end"]);

/** Draws the tree, and beside it the path of the chosen hypothesis with its sum. */
export function beam(figure, data) {
  const { nodes, returned } = data;
  let every = nodes.length <= MANY;
  const said = make("p", { class: "said unseen", "aria-live": "polite" });
  const path = make("div", { class: "path" });
  const holder = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": say("beam tree") });
  const box = make("input", { type: "checkbox", checked: every });
  const more = make("label", { class: "check" }, box, say("also what was not kept"));
  let chosen = returned[0] ?? 0;

  const shown = () => nodes.map((_, at) => at).filter((at) => every || !UNKEPT.has(nodes[at].fate));
  const pathOf = (at) => (at === null ? [] : [...pathOf(nodes[at].parent), at]);

  function choose(at, grown) {
    chosen = at;
    const own = pathOf(at);
    const node = nodes[at];
    const fate = say(data.why[node.fate], {}, data.words);
    const end = node.died === null ? fate : say("{fate} in step {step}", { fate, step: node.died });
    const result = returned.indexOf(at);
    said.textContent = say("{sum}  =  {score}; with the length penalty {ranked}; candidate {rank} of its step: {end}", {
      sum: own.map((one) => `${nodes[one].piece} ${nodes[one].log_prob.toFixed(4)}`).join("  +  "),
      score: node.score.toFixed(4),
      ranked: node.rank_score.toFixed(4),
      rank: node.rank,
      end: result < 0 ? end : say("result {place}", { place: result + 1 }),
    });
    const rows = own.map((one) => [String(nodes[one].step), nodes[one].piece, nodes[one].log_prob.toFixed(4), nodes[one].score.toFixed(4)]);
    const heads = [`>${say("step")}`, say("piece"), term("log p"), term("sum", say("sum"))];
    const numbers = table(heads, rows, { class: "numbers" });
    const verdict = make("p", { class: result < 0 ? "fate" : "fate won" }, result < 0 ? end : say("result {place}", { place: result + 1 }));
    path.replaceChildren(verdict, numbers);
    grown.light(at, new Set(own));
  }

  function grow() {
    const grown = tree(data, shown(), choose);
    holder.replaceChildren(grown.svg);
    choose(grown.has(chosen) ? chosen : (returned[0] ?? shown()[0]), grown);
  }

  box.addEventListener("change", () => {
    every = box.checked;
    grow();
  });
  const keys = make("p", { class: "key" }, ...legendOf(), more);
  figure.append(keys, make("div", { class: "pair beam" }, holder, path), said);
  grow();
}

/** What the looks of a hypothesis mean. */
function legendOf() {
  const sign = (kind, text) => [make("span", { class: `swatch ${kind}` }), text];
  return [
    ...sign("result", say("a result")),
    ...sign("best", say("leads to a result")),
    ...sign("kept", say("was kept")),
    ...sign("ended", say("ended")),
    ...sign("lost", say("was not kept")),
  ];
}

/** The picture of the tree, with what lights a path. */
function tree(data, shown, choose) {
  const { nodes, returned } = data;
  const steps = Math.max(...shown.map((at) => nodes[at].step));
  const ranks = Math.max(...shown.map((at) => nodes[at].rank));
  const place = (node) => [LEFT + (node.step - 1) * WIDE, TOP + (node.rank - 1) * HIGH];
  const [width, height] = [LEFT + steps * WIDE, TOP + ranks * HIGH + 6];
  const label = say("tree of {count} candidates in {steps} steps; the results are in the tables", { count: shown.length, steps });
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": label });
  for (let step = 1; step <= steps; step++) {
    svg.append(draw("text", { x: LEFT + (step - 1) * WIDE, y: 13, class: "axis" }, say("step {step}", { step })));
  }
  const [boxes, links] = [new Map(), new Map()];
  for (const at of shown) {
    const parent = nodes[at].parent;
    if (parent === null) continue;
    const [x, y] = place(nodes[at]);
    const [begin, py] = [place(nodes[parent])[0] + WIDE - 18, place(nodes[parent])[1]];
    links.set(at, draw("path", { d: `M${begin} ${py + 10} C${begin + 12} ${py + 10} ${x - 12} ${y + 10} ${x} ${y + 10}` }));
    svg.append(links.get(at));
  }
  const grown = {
    svg,
    has: (at) => boxes.has(at),
    light(at, own) {
      for (const [number, box] of boxes) {
        box.classList.toggle("on", own.has(number));
        box.setAttribute("aria-pressed", String(number === at));
        box.setAttribute("tabindex", number === at ? 0 : -1);
        links.get(number)?.classList.toggle("on", own.has(number));
      }
    },
  };
  for (const at of shown) {
    const box = boxOf(data, nodes[at], returned.indexOf(at), place(nodes[at]));
    box.addEventListener("click", () => choose(at, grown));
    box.addEventListener("focus", () => choose(at, grown));
    boxes.set(at, box);
    svg.append(box);
  }
  svg.addEventListener("keydown", (event) => step(event, nodes, shown, boxes));
  return grown;
}

function boxOf(data, node, result, [x, y]) {
  const letters = [...node.piece];
  const text = draw("text", { x: x + 6, y: y + 14.5 }, letters.length > 9 ? `${letters.slice(0, 8).join("")}…` : node.piece);
  const label = say("step {step}, candidate {rank}: {piece}, score {score}, {fate}", {
    step: node.step,
    rank: node.rank,
    piece: node.piece,
    score: node.score.toFixed(2),
    fate: say(data.why[node.fate], {}, data.words),
  });
  const looks = ["node"];
  if (UNKEPT.has(node.fate)) looks.push("lost");
  if (ENDED.has(node.fate)) looks.push("ended");
  if (node.best) looks.push("best");
  if (result >= 0) looks.push("result");
  const shape = draw("rect", { x, y, width: WIDE - 18, height: 20, rx: 4 });
  return draw("g", { role: "button", tabindex: -1, class: looks.join(" "), "aria-label": label }, draw("title", {}, label), shape, text);
}

/** Left and right follow the tree, up and down go through a step. */
function step(event, nodes, shown, boxes) {
  const at = shown.find((number) => boxes.get(number) === document.activeElement);
  if (at === undefined) return;
  const column = shown.filter((number) => nodes[number].step === nodes[at].step);
  const beside = column.indexOf(at);
  const next = {
    ArrowLeft: nodes[at].parent,
    ArrowRight: shown.find((number) => nodes[number].parent === at),
    ArrowUp: column[beside - 1],
    ArrowDown: column[beside + 1],
  }[event.key];
  if (next === undefined || next === null) return;
  event.preventDefault();
  boxes.get(next).focus();
}
