// Parts of the page's forms: fields with their names, sliders with their values, notices, figures of speed.

import { make } from "./dom.js";
import { say } from "./language.js";
import { isTerm, term } from "./terms.js";

/** A text field of several lines that grows with its text. */
export function area(value, label, onInput, rows = 4) {
  const field = make("textarea", { rows, "aria-label": label, placeholder: label, spellcheck: "false" });
  field.value = value;
  const fit = () => {
    field.style.setProperty("height", "auto");
    if (field.scrollHeight) field.style.setProperty("height", `${field.scrollHeight + 2}px`);
  };
  field.addEventListener("input", () => {
    fit();
    onInput(field.value);
  });
  queueMicrotask(fit);
  return field;
}

/** A slider with its name, explained where that is a word of the trade, and its value. */
export function slider(word, label, { value, min, max, step }, onChange) {
  const shown = make("output", {}, String(value));
  const range = make("input", { type: "range", min, max, step, "aria-label": label });
  range.value = value;
  range.addEventListener("input", () => {
    shown.textContent = range.value;
    onChange(Number(range.value));
  });
  return make("div", { class: "slider" }, isTerm(word) ? term(word, label) : make("span", {}, label), range, shown);
}

/** A box to be ticked. */
export function check(label, value, onChange) {
  const box = make("input", { type: "checkbox", checked: value });
  box.addEventListener("change", () => onChange(box.checked));
  return make("label", { class: "check" }, box, label);
}

/** Calls a function once nobody has asked for it again for some milliseconds. */
export function debounced(act, wait) {
  let timer = null;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...values), wait);
  };
}

/** How long an answer took, and how fast it came. */
export function speed(ms, pieces) {
  const rate = ms > 0 ? Math.round(pieces / (ms / 1000)) : 0;
  return say("{ms} ms · {pieces} pieces · {rate} pieces/s", { ms: Math.round(ms), pieces, rate });
}

/** A row of notices, none where there is nothing to say. */
export function notices(lines) {
  return lines.filter(Boolean).map((line) => make("p", { class: "notice" }, line));
}

/** Shows what went wrong, unless the reader has asked for something else meanwhile. */
export function failed(holder, error) {
  if (error.name === "AbortError") return;
  holder.replaceChildren(make("p", { class: "notice wrong", role: "alert" }, error.message));
}
