// Write: a text piece by piece, what could have come in place of each, and another way on from any of them.

import { stream } from "./api.js";
import { shadeOf } from "./colour.js";
import { copyButtons } from "./copy.js";
import { make, styled } from "./dom.js";
import { area, failed, notices, slider, speed } from "./form.js";
import { onTheme, percent, say } from "./language.js";
import { candidate } from "./steps.js";

const SAMPLER = [
  ["temperature", "temperature", { value: 0.8, min: 0, max: 2, step: 0.05 }],
  ["top-k", "top_k", { value: 0, min: 0, max: 100, step: 1 }],
  ["top-p", "top_p", { value: 1, min: 0.05, max: 1, step: 0.05 }],
  ["min-p", "min_p", { value: 0, min: 0, max: 0.5, step: 0.01 }],
  ["repetition", "repetition_penalty", { value: 1, min: 1, max: 2, step: 0.05 }],
  ["max_new", "max_new", { value: 64, min: 1, max: 512, step: 1 }],
  ["seed", "seed", { value: 0, min: 0, max: 1000, step: 1 }],
];

/** The tab. */
export function write(model, state) {
  state.prompt ??= "";
  state.steps ??= [];
  state.settings ??= Object.fromEntries(SAMPLER.map(([, name, range]) => [name, range.value]));
  const names = {
    temperature: say("temperature"),
    "top-k": "top-k",
    "top-p": "top-p",
    "min-p": "min-p",
    repetition: say("repetition penalty"),
    max_new: say("most new pieces"),
    seed: say("seed"),
  };
  const written = make("div", { class: "output", role: "group", "aria-label": say("what was written; arrow keys go from piece to piece") });
  const bars = make("ol", { class: "bars" });
  const about = make("p", { class: "facts" });
  const hint = make("p", { class: "quiet" }, say("a click goes on from there"));
  const status = make("p", { class: "quiet status" });
  const warned = make("div", { class: "notices" });
  const go = make("button", { type: "button", class: "main" });
  let spans = [];

  const fields = (pieces) => ({ model: model.name, prompt: state.prompt, ...state.settings, top: 8, ...(pieces.length ? { pieces } : {}) });

  /** Writes on behind the first ``kept`` pieces. */
  async function run(kept) {
    state.running?.abort();
    const running = new AbortController();
    state.running = running;
    state.steps = state.steps.slice(0, kept);
    const pieces = state.steps.map((step) => step.id).filter((id) => id >= 0);
    const room = Math.max(1, state.settings.max_new - kept);
    state.asked = ["generate", { ...fields(pieces), max_new: room }];
    state.ended = null;
    name();
    warned.replaceChildren();
    show();
    const began = performance.now();
    let count = 0;
    try {
      await stream(...state.asked, (event) => {
        if (running !== state.running) return;
        if (event.done) state.ended = event;
        if (event.done || event.id < 0) {
          rest(event.text);
          return;
        }
        state.steps.push(event);
        count += 1;
        append(event);
        choose(state.steps.length - 1);
        status.textContent = speed(performance.now() - began, count);
      }, running.signal);
    } catch (error) {
      failed(warned, error);
    }
    if (running !== state.running) return;
    state.running = null;
    name();
    const { ended } = state;
    if (ended) {
      const why = { end: say("the model ended the text"), length: say("as long as was asked for"), stop: say("at a stop string") }[ended.reason];
      status.textContent = `${speed(performance.now() - began, ended.pieces)} · ${why}`;
      const lost = ended.dropped > 0 && say("{count} pieces at the start of the prompt were not read: it is too long for the model", { count: ended.dropped });
      const odd = ended.unknown > 0 && say("{count} pieces of the prompt are not in the vocabulary", { count: ended.unknown });
      warned.replaceChildren(...notices([lost, odd]));
    }
  }

  /** Takes text that is no piece of its own: the end of the last one, or what a model writes that tells no pieces. */
  function rest(text) {
    if (!text) return;
    if (!state.steps.length) state.steps.push({ id: -1, piece: "", text: "", probability: 1, top: [] });
    state.steps.at(-1).text += text;
    if (spans.length) spans.at(-1).append(text);
    else append(state.steps.at(-1));
    choose(state.steps.length - 1);
  }

  function name() {
    go.textContent = state.running ? say("stop") : say("write");
    go.classList.toggle("stop", Boolean(state.running));
  }

  go.addEventListener("click", () => {
    if (state.running) {
      state.running.abort();
      state.running = null;
      name();
    } else run(0);
  });

  function append(step) {
    const at = spans.length;
    const span = make("span", { class: "wrote", tabindex: -1, title: `${step.piece} ${percent(step.probability)}` }, step.text);
    onTheme(span, () => styled(span, { "border-bottom-color": shadeOf(1 - step.probability) }));
    span.addEventListener("click", () => choose(at));
    span.addEventListener("focus", () => choose(at));
    spans.push(span);
    written.append(span);
  }

  function show() {
    spans = [];
    written.replaceChildren(make("span", { class: "given" }, state.prompt));
    state.steps.forEach(append);
    if (state.steps.length) choose(Math.min(state.at ?? Infinity, state.steps.length - 1));
    else {
      bars.replaceChildren();
      about.textContent = "";
    }
  }

  /** Shows what could have come at a step. */
  function choose(at) {
    state.at = at;
    spans.forEach((span, number) => {
      span.classList.toggle("on", number === at);
      span.tabIndex = number === at ? 0 : -1;
    });
    const step = state.steps[at];
    hint.hidden = step.id < 0; // of a model that tells no pieces
    about.textContent = step.id < 0 ? "" : say("step {step} of {count}: {piece}, {share}", { step: at + 1, count: state.steps.length, piece: step.piece, share: percent(step.probability) });
    if (step.id < 0) return;
    const best = step.top.some(([id]) => id === step.id) ? step.top : [...step.top, [step.id, step.piece, step.probability]];
    bars.replaceChildren(...best.map(([id, piece, share]) => candidate(piece, share, id === step.id, () => branch(at, id, piece, share))));
  }

  /** Goes on with another piece in the place of a step's. */
  function branch(at, id, piece, share) {
    const step = state.steps[at];
    state.steps[at] = { ...step, id, piece, probability: share, text: id === step.id ? step.text : piece.replaceAll("▁", " ").replace(/<0x..>/g, "") };
    run(at + 1);
  }

  written.addEventListener("keydown", (event) => {
    const next = state.at + ({ ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? NaN);
    if (!spans[next]) return;
    event.preventDefault();
    spans[next].focus();
  });

  const field = area(state.prompt, say("how the text begins"), (text) => {
    state.prompt = text;
  }, 3);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(0);
  });
  const sliders = SAMPLER.map(([word, key, range]) =>
    slider(word, names[word], { ...range, value: state.settings[key] }, (value) => {
      state.settings[key] = value;
    }),
  );
  name();
  show();
  if (state.running) run(state.steps.every((step) => step.id >= 0) ? state.steps.length : 0); // the reader was elsewhere
  return make(
    "div",
    { class: "write" },
    make("section", { class: "box" }, field, make("div", { class: "row" }, go, make("span", { class: "quiet" }, say("Ctrl+Enter writes")), copyButtons(() => state.asked ?? ["generate", fields([])]))),
    make(
      "div",
      { class: "boxes" },
      make("section", { class: "box grown" }, written, status, warned),
      make("section", { class: "box" }, make("h2", {}, say("what could come here")), about, bars, hint),
    ),
    make("div", { class: "sliders" }, ...sliders),
  );
}
