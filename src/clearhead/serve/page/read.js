// Fill, embed, classify: what a model that reads makes of a text.

import { ask } from "./api.js";
import { shadeOf } from "./colour.js";
import { copyButtons } from "./copy.js";
import { make, styled } from "./dom.js";
import { area, debounced, failed, notices, speed } from "./form.js";
import { onTheme, say } from "./language.js";
import { candidate } from "./steps.js";

const PAUSE = 350;

/** A tab of a text and what comes of it: asks after each pause, and shows what ``draw`` makes of the answer. */
function reading(state, name, fields, fieldsets, draw) {
  const result = make("div", { class: "result", "aria-live": "polite" });
  const status = make("p", { class: "quiet status" });
  let running = null;
  async function run() {
    running?.abort();
    running = new AbortController();
    const asked = fields();
    if (!asked) {
      result.replaceChildren();
      status.textContent = "";
      return;
    }
    try {
      const answer = await ask(name, asked, running.signal);
      result.replaceChildren(...draw(answer));
      status.textContent = speed(answer.ms, answer.pieces ?? 0).split(" · ")[0];
    } catch (error) {
      failed(result, error);
    }
  }
  const later = debounced(run, PAUSE);
  if (fields()) later();
  const copies = copyButtons(() => (fields() ? [name, fields()] : null));
  return make("div", { class: "reading" }, make("section", { class: "box" }, ...fieldsets(later), make("div", { class: "row" }, copies)), make("section", { class: "box" }, result, status));
}

/** Fills the gaps of a text. */
export function fill(model, state) {
  state.text ??= "";
  const fields = () => (model.mask && state.text.includes(model.mask) ? { model: model.name, text: state.text } : null);
  const inputs = (later) => {
    const field = area(state.text, say("a text with {mask} where a piece is missing", { mask: model.mask }), (text) => {
      state.text = text;
      later();
    });
    const put = make("button", { type: "button", class: "small" }, say("put {mask} here", { mask: model.mask }));
    put.addEventListener("click", () => {
      field.setRangeText(model.mask, field.selectionStart, field.selectionEnd, "end");
      field.dispatchEvent(new Event("input"));
      field.focus();
    });
    return [field, put];
  };
  return reading(state, "fill", fields, inputs, (answer) => [
    make("p", { class: "target" }, answer.text),
    ...answer.masks.flatMap((mask, number) => [
      make("h3", {}, say("gap {number}", { number: number + 1 })),
      make("ol", { class: "bars" }, ...mask.map((each, at) => candidate(each.piece, each.probability, at === 0))),
    ]),
  ]);
}

/** How near texts are to each other. */
export function embed(model, state) {
  state.lines ??= "";
  const texts = () => state.lines.split("\n").filter((line) => line.trim()).slice(0, 16);
  const fields = () => (texts().length ? { model: model.name, texts: texts() } : null);
  const inputs = (later) => [
    area(state.lines, say("texts to compare, one a line"), (text) => {
      state.lines = text;
      later();
    }),
  ];
  return reading(state, "embed", fields, inputs, (answer) => [
    make("p", { class: "quiet" }, say("cosine of each pair; 1 is the same direction, vectors of {count} numbers", { count: answer.vectors[0].length })),
    cosines(texts(), answer.cosines),
  ]);
}

function cosines(texts, values) {
  const cell = (value) => {
    const shown = make("td", { class: "number" }, value.toFixed(3));
    const bar = make("span", { class: "heat" });
    onTheme(bar, () => styled(bar, { background: shadeOf(Math.max(0, value)) }));
    shown.prepend(bar);
    return shown;
  };
  const rows = values.map((row, at) => make("tr", {}, make("th", { scope: "row" }, `${at + 1}  ${texts[at]}`), ...row.map(cell)));
  const heads = make("tr", {}, make("td"), ...texts.map((_, at) => make("th", { scope: "col", class: "number" }, String(at + 1))));
  return make("div", { class: "wide" }, make("table", {}, make("thead", {}, heads), make("tbody", {}, ...rows)));
}

/** The classes of a text, or of a pair. */
export function classify(model, state) {
  state.text ??= "";
  state.pair ??= "";
  const whole = () => state.text.trim() && (!model.pairs || state.pair.trim());
  const fields = () => (whole() ? { model: model.name, text: state.text, ...(model.pairs ? { pair: state.pair } : {}) } : null);
  const inputs = (later) => {
    const field = (name, label) =>
      area(state[name], label, (text) => {
        state[name] = text;
        later();
      });
    return [field("text", say("a text to judge")), ...(model.pairs ? [field("pair", say("the second text of the pair"))] : [])];
  };
  return reading(state, "classify", fields, inputs, (answer) => {
    const ranked = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
    const lost = notices([answer.dropped > 0 && say("{count} pieces of the text were left out: it is too long for the model", { count: answer.dropped })]);
    if (!ranked.length) return [make("p", { class: "target" }, answer.score.toPrecision(4)), ...lost];
    return [make("p", { class: "target" }, answer.label), make("ol", { class: "bars" }, ...ranked.map(([label, share], at) => candidate(label, share, at === 0))), ...lost];
  });
}
