// Translate: as one types, in words that say how certain they are, where they come from, and what else could stand there.

import { ask } from "./api.js";
import { legend, shadeOf } from "./colour.js";
import { copyButtons } from "./copy.js";
import { make, styled } from "./dom.js";
import { area, check, debounced, failed, notices, slider, speed } from "./form.js";
import { demands, glossary, kept } from "./glossary.js";
import { language, onTheme, percent, say } from "./language.js";
import { term } from "./terms.js";

const PAUSE = 250; // milliseconds after the last key

/** The tab; ``state`` keeps what was typed and found from one language of the page to the other. */
export function translate(model, state, lookInside) {
  const pair = `${model.source}-${model.target}`;
  state.text ??= "";
  state.beam ??= 5;
  state.penalty ??= 1;
  state.colours ??= true;
  state.rows ??= kept(pair);
  const target = make("div", { class: "target", lang: model.target, "aria-live": "polite" });
  const sources = make("div", { class: "sources", lang: model.source });
  const status = make("p", { class: "quiet status" });
  const warned = make("div", { class: "notices" });
  let running = null;

  const fields = () => ({ model: model.name, text: state.text, beam: state.beam, length_penalty: state.penalty, ...demands(state.rows) });

  /** Shows a quick translation, then the search's, then where its words come from. */
  async function run() {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    if (!state.text.trim()) {
      state.found = null;
      show();
      return;
    }
    try {
      if (state.beam > 1) take(await ask("translate", { ...fields(), beam: 1 }, signal));
      take(await ask("translate", fields(), signal));
      if (model.looks_inside) align(await ask("translate", { ...fields(), alignment: true }, signal));
    } catch (error) {
      target.classList.toggle("old", error.name !== "AbortError");
      failed(warned, error);
    }
  }

  /** Shows a translation; one that reads as the one before leaves its words, and a menu that is open, where they are. */
  function take(answer) {
    const fresh = { ...answer.translations[0], ms: answer.ms, checkpoint: answer.checkpoint };
    const reads = (found) => found?.parts.map((part) => part.before + part.text).join("\n");
    if (reads(state.found) === reads(fresh)) {
      state.found = { ...fresh, parts: state.found.parts };
      about();
    } else {
      state.found = fresh;
      show();
    }
  }

  /** Adds where the words come from to what is shown; a menu that is open stays. */
  function align(answer) {
    answer.translations[0].parts.forEach((part, at) => {
      const shown = state.found.parts[at];
      if (shown?.text === part.text) shown.words.forEach((word, number) => Object.assign(word, { sources: part.words[number].sources }));
    });
  }

  const later = debounced(run, PAUSE);

  function show() {
    const { found } = state;
    closeMenu();
    target.replaceChildren(...(found ? found.parts.flatMap((part, at) => wordsOf(part, at)) : []));
    sources.replaceChildren(...(found ? found.parts.flatMap((part, at) => sourceOf(part, at)) : []));
    about();
  }

  /** Says what a reader must know of the translation, and how long it took. */
  function about() {
    const { found } = state;
    target.classList.remove("old");
    warned.replaceChildren(...(found ? notices(warnings(found)) : []));
    const count = found ? found.parts.reduce((sum, part) => sum + part.pieces.length, 0) : 0;
    status.textContent = found ? `${speed(found.ms, count)} · ${found.checkpoint ?? ""}` : "";
  }

  /** The words of a part, each a button; what stands between them stays as it is. */
  function wordsOf(part, at) {
    const shown = [part.before];
    let behind = 0;
    part.words.forEach((word, number) => {
      shown.push(part.text.slice(behind, word.start));
      const text = part.text.slice(word.start, word.end);
      const title = say("{share} certain; click for alternatives", { share: percent(word.certainty) });
      const button = make("button", { type: "button", class: "word", title, "data-part": at, "data-word": number }, text);
      if (state.colours) onTheme(button, () => styled(button, { "border-bottom-color": shadeOf(1 - word.certainty) }));
      button.addEventListener("pointerenter", () => light(at, word.sources));
      button.addEventListener("pointerleave", () => light(at, []));
      button.addEventListener("focus", () => light(at, word.sources));
      button.addEventListener("blur", () => light(at, []));
      button.addEventListener("click", () => openMenu(button, part, at, word));
      shown.push(button);
      behind = word.end;
    });
    shown.push(part.text.slice(behind));
    return shown;
  }

  function sourceOf(part, at) {
    const shown = at ? [" "] : [];
    let behind = 0;
    part.source_words.forEach(([start, end], number) => {
      shown.push(part.source.slice(behind, start));
      const span = make("span", { class: "source", "data-part": at, "data-word": number }, part.source.slice(start, end));
      span.addEventListener("pointerenter", () => lightTargets(at, number));
      span.addEventListener("pointerleave", () => lightTargets(at, -1));
      shown.push(span);
      behind = end;
    });
    shown.push(part.source.slice(behind));
    return shown;
  }

  function light(at, numbers) {
    for (const span of sources.querySelectorAll(".source")) {
      span.classList.toggle("on", Number(span.dataset.part) === at && numbers.includes(Number(span.dataset.word)));
    }
  }

  function lightTargets(at, number) {
    for (const button of target.querySelectorAll(".word")) {
      const word = state.found.parts[button.dataset.part].words[button.dataset.word];
      button.classList.toggle("on", Number(button.dataset.part) === at && word.sources.includes(number));
    }
  }

  // ------------------------------------------------------------------------------------------------- alternatives

  let [menu, opener] = [null, null];

  function closeMenu() {
    menu?.remove();
    menu = null;
  }

  async function openMenu(button, part, at, word) {
    closeMenu();
    menu = make("div", { class: "menu", role: "listbox", "aria-label": say("what else could stand here") }, make("p", { class: "quiet" }, say("looking for alternatives …")));
    const own = menu;
    opener = button;
    target.parentElement.append(menu);
    placeBelow(menu, button);
    const asked = { model: model.name, text: part.source, context: part.context, prefix: part.text.slice(0, word.start).trimEnd(), beam: state.beam };
    state.asked = ["alternatives", asked];
    try {
      const answer = await ask("alternatives", asked);
      if (own !== menu) return;
      menu.replaceChildren(...answer.alternatives.map((each) => choiceOf(each, part, at, word)));
      menu.firstChild?.focus();
    } catch (error) {
      if (own === menu) failed(menu, error);
    }
    placeBelow(own, button);
  }

  /** One alternative: how probable its first piece is, and the text from there on. */
  function choiceOf(each, part, at, word) {
    const start = part.text.slice(0, word.start).trimEnd().length;
    const option = make(
      "button",
      { type: "button", role: "option", "aria-selected": String(each.text === part.text) },
      make("span", { class: "share" }, percent(each.probability)),
      make("span", {}, each.text.slice(start).trimStart() || say("(the end)")),
    );
    option.addEventListener("click", () => {
      const [chosen] = each.parts;
      state.found.parts[at] = { ...chosen, before: part.before };
      state.found.text = state.found.parts.map((one) => one.before + one.text).join("");
      show();
      target.querySelector(`[data-part="${at}"]`)?.focus();
    });
    return option;
  }

  function leave(event) {
    if (!menu || event.key === undefined) return;
    if (event.key === "Escape") {
      closeMenu();
      opener?.focus();
      return;
    }
    const options = [...menu.querySelectorAll("[role=option]")];
    const next = options.indexOf(document.activeElement) + ({ ArrowDown: 1, ArrowUp: -1 }[event.key] ?? NaN);
    if (!options[next]) return;
    event.preventDefault();
    options[next].focus();
  }

  // -------------------------------------------------------------------------------------------------------- layout

  const field = area(state.text, say("type a text to translate"), (text) => {
    state.text = text;
    state.asked = null;
    later();
  });
  field.lang = model.source;
  const scale = legend(say("how uncertain a word is"));
  scale.hidden = !state.colours;
  const copyText = make("button", { type: "button", class: "small", onclick: () => state.found && navigator.clipboard?.writeText(state.found.text) }, say("copy the translation"));
  const inside = make("button", { type: "button", class: "small", onclick: () => lookInside(state.text) }, say("look inside"));
  const root = make(
    "div",
    { class: "translate" },
    make(
      "div",
      { class: "boxes" },
      make("section", { class: "box" }, make("h2", {}, nameOf(model.source)), field, sources),
      make("section", { class: "box", onkeydown: leave }, make("h2", {}, nameOf(model.target)), target),
    ),
    warned,
    status,
    make("div", { class: "row" }, copyText, ...(model.looks_inside ? [inside] : []), copyButtons(() => state.asked ?? (state.text.trim() ? ["translate", fields()] : null))),
    make(
      "div",
      { class: "settings" },
      make(
        "div",
        {},
        slider("beam", say("beam width"), { value: state.beam, min: 1, max: 16, step: 1 }, (value) => {
          state.beam = value;
          later();
        }),
        slider("length penalty", say("length penalty"), { value: state.penalty, min: 0, max: 2, step: 0.1 }, (value) => {
          state.penalty = value;
          later();
        }),
        make(
          "div",
          { class: "row" },
          check(say("colour by certainty"), state.colours, (on) => {
            state.colours = on;
            scale.hidden = !on;
            show();
          }),
          term("certainty", "?"),
        ),
        scale,
      ),
      glossary(pair, (rows) => {
        state.rows = rows;
        later();
      }),
    ),
  );
  show();
  if (state.text && !state.found) later();
  return root;
}

/** The name of a language in the language of the page; its code where the browser knows none. */
function nameOf(code) {
  try {
    return new Intl.DisplayNames([language()], { type: "language" }).of(code);
  } catch {
    return code;
  }
}

/** What a reader must know of a translation: parts, what was left out, what was not met. */
function warnings(found) {
  const count = found.parts.length;
  return [
    count > 1 && say("translated in {count} parts", { count }),
    found.dropped > 0 && say("{count} pieces of the text were left out: it is too long for the model", { count: found.dropped }),
    found.cuts > 0 && say("{count} sentences were cut inside of a clause: they are too long for the model", { count: found.cuts }),
    found.unknown > 0 && say("{count} pieces of the text are not in the vocabulary", { count: found.unknown }),
    !found.complete && say("the translation ends at the length limit"),
    found.unmet.length > 0 && say("not contained, though asked for: {phrases}", { phrases: found.unmet.join(", ") }),
  ];
}

function placeBelow(menu, button) {
  const [box, around] = [button.getBoundingClientRect(), menu.parentElement.getBoundingClientRect()];
  const left = Math.max(0, Math.min(box.left - around.left, around.width - menu.offsetWidth));
  styled(menu, { left: `${left}px`, top: `${box.bottom - around.top + 4}px` });
}
