// Words of the trade, explained where they stand: by pointer, by keyboard, by touch.

import { make, styled } from "./dom.js";
import { say } from "./language.js";

/** What each word means; the words are the English of the page, in lower case. */
const TERMS = {
  entropy: () => say("entropy: how widely a head spreads its attention, in nats; 0 is one key alone, and the logarithm of the number of keys is all alike"),
  "loss without": () => say("loss without: how much the loss rises when the output of this head is set to zero; below 0 the head did harm here"),
  divergence: () => say("divergence: how far the predictions move when the head is switched off (Kullback-Leibler, nats a piece)"),
  share: () => say("share: how much of the attention goes where the type says; of broad and mixed heads the entropy as a share of an even spread"),
  type: () => say("type: where more than half of the attention goes: previous, next or own position (diagonal), first or last key; broad is nearly even, mixed is none of these"),
  "log p": () => say("log p: the logarithm of the probability that the model gives this piece after those before it; 0 is certain"),
  sum: () => say("sum: the log-probabilities of all pieces so far, added up"),
  score: () => say("score: the sum of log-probabilities of a hypothesis"),
  ranked: () => say("ranked: the score after the length penalty, by which finished hypotheses compete"),
  beam: () => say("beam: how many hypotheses the search keeps at each step; 1 is greedy"),
  piece: () => say("piece: what the tokenizer makes of a text, a word or a part of one; ▁ is a space"),
  pieces: () => say("piece: what the tokenizer makes of a text, a word or a part of one; ▁ is a space"),
  cache: () => say("cache: the keys and values of the positions before, kept so that a step computes one position only"),
  "read, b": () => say("read: bytes of keys and values that this step reads from the cache, by the formula"),
  "written, b": () => say("written: bytes of keys and values that this step adds to the cache, by the formula"),
  measured: () => say("measured: the bytes that PyTorch's kernels really moved in this step"),
  chosen: () => say("chosen: the piece that was taken, here always the most probable one that is allowed"),
  gamma: () => say("gamma: what a norm multiplies each feature by; learned"),
  beta: () => say("beta: what a norm adds to each feature; learned"),
  certainty: () => say("certainty: the probability that the model gave to what it wrote; the colour of a word is that of its least probable piece"),
  alignment: () => say("alignment: for each target piece the source piece that it attends to most"),
  temperature: () => say("temperature: below 1 the probable gets more probable, above 1 the draw gets bolder; 0 always takes the best"),
  "top-k": () => say("top-k: draw from the k most probable pieces alone; 0 is off"),
  "top-p": () => say("top-p: draw from the fewest pieces that have this probability together; 1 is off"),
  "min-p": () => say("min-p: leave out pieces below this share of the best one's probability; 0 is off"),
  repetition: () => say("repetition penalty: makes pieces that came before less probable; 1 is off"),
  "length penalty": () => say("length penalty: the power of the length that scores are divided by; above 1 favours longer translations"),
};

/** Whether a word has an explanation. */
export function isTerm(word) {
  return word.trim().toLowerCase() in TERMS;
}

/** Makes an element explain itself when it is pointed at, focused or touched. */
export function explain(element, word) {
  const meaning = TERMS[word.trim().toLowerCase()];
  if (!meaning || element.dataset.term) return element;
  element.dataset.term = word;
  element.tabIndex = 0;
  element.addEventListener("pointerenter", () => show(element, meaning()));
  element.addEventListener("focus", () => show(element, meaning()));
  element.addEventListener("pointerleave", hide);
  element.addEventListener("blur", hide);
  element.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  return element;
}

/** A word with its explanation. */
export function term(word, shown = word) {
  return explain(make("span", { class: "term" }, shown), word);
}

/** Which names of columns are words of the trade, by the figure that stands beside their table: elsewhere they may mean another thing. */
const HEADS = {
  attention: ["type", "share", "entropy", "loss without", "divergence"],
  steps: ["chosen", "read, b", "written, b", "measured"],
  beam: ["piece", "log p", "sum"],
};
const ANYWHERE = ["gamma", "beta"];

/** Explains the names of columns below an element. */
export function explainHeads(holder) {
  for (const head of holder.querySelectorAll("thead th")) {
    const word = head.querySelector("[data-en]")?.dataset.en ?? head.textContent;
    const figures = head.closest(".clearhead-view")?.querySelectorAll("figure.live") ?? [];
    const known = [...figures].flatMap((figure) => HEADS[figure.dataset.kind] ?? []);
    if ([...known, ...ANYWHERE].includes(word.trim().toLowerCase())) explain(head.firstElementChild ?? head, word);
  }
}

function show(element, meaning) {
  const tip = document.getElementById("tip") ?? document.body.appendChild(make("div", { id: "tip", role: "tooltip" }));
  tip.textContent = meaning;
  tip.hidden = false;
  element.setAttribute("aria-describedby", "tip");
  const box = element.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8));
  const below = box.bottom + 6 + tip.offsetHeight < window.innerHeight;
  styled(tip, { left: `${left}px`, top: `${below ? box.bottom + 6 : Math.max(4, box.top - tip.offsetHeight - 6)}px` });
}

function hide() {
  const tip = document.getElementById("tip");
  if (tip) tip.hidden = true;
}
