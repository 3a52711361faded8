// Look inside: what the heads attend to, how a text comes about step by step, and what the search kept and why.

import { ask } from "./api.js";
import { copyButtons } from "./copy.js";
import { make } from "./dom.js";
import { area, check, failed, slider } from "./form.js";
import { attention } from "./heads.js";
import { say } from "./language.js";
import { steps } from "./steps.js";
import { beam } from "./tree.js";

/** The tab. */
export function look(model, state) {
  state.text ??= "";
  state.beam ??= 5;
  state.found ??= {};
  state.running ??= {};
  const writes = model.kind === "translator" || model.kind === "writer";
  const views = [view("attention"), ...(writes ? [view("trace"), view("beam")] : [])];

  const fields = {
    attention: () => ({ model: model.name, text: state.text, worth: Boolean(state.worth) }),
    trace: () => ({ model: model.name, text: state.text }),
    beam: () => ({ model: model.name, text: state.text, beam: state.beam }),
  };

  /** One view: its title, what is asked for it, its figure. */
  function view(name) {
    const titles = { attention: say("attention by layer and head"), trace: say("greedy decoding, step by step"), beam: say("the tree: score, and what became of it") };
    const body = make("div", { class: "body" });
    const section = make("section", { class: "clearhead-view", id: name }, make("h2", {}, titles[name]), body, copyButtons(() => (state.text.trim() ? [name, fields[name]()] : null)));
    return { name, section, body };
  }

  function show({ name, body }) {
    const data = state.found[name];
    if (!data) return body.replaceChildren();
    const figure = make("figure", { class: "live" });
    const notes = [data.note, data.cache].filter(Boolean).map((note) => make("p", {}, say(note, {}, data.words)));
    if (data.counts) {
      const told = Object.entries(data.counts).map(([fate, count]) => `${say(data.why[fate], {}, data.words)}: ${count}`);
      notes.push(make("p", { class: "quiet" }, say("{nodes} candidates: {said}", { nodes: data.nodes.length, said: told.join(" · ") })));
    }
    body.replaceChildren(...notes, figure);
    ({ attention, trace: steps, beam })[name](figure, data);
  }

  /** Asks for some views in turn; what the others are asked for goes on. */
  async function run(which = views) {
    if (!state.text.trim()) return;
    const asked = which.map((each) => {
      state.running[each.name]?.abort();
      state.running[each.name] = new AbortController();
      each.body.replaceChildren(make("p", { class: "quiet" }, say("looking …")));
      return [each, fields[each.name](), state.running[each.name]];
    });
    for (const [each, request, running] of asked) {
      const isWanted = () => running === state.running[each.name];
      wait();
      try {
        const found = isWanted() && (await ask(each.name, request, running.signal));
        if (!isWanted()) continue;
        state.found[each.name] = found;
        show(each);
      } catch (error) {
        if (!isWanted()) continue;
        delete state.found[each.name];
        failed(each.body, error);
      }
      delete state.running[each.name];
    }
    wait();
  }

  function wait() {
    go.disabled = Object.keys(state.running).length > 0;
  }

  const field = area(state.text, say("a text to look into"), (text) => {
    state.text = text;
  }, 2);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  });
  const go = make("button", { type: "button", class: "main", onclick: () => run() }, say("look inside"));
  const wide = slider("beam", say("beam width"), { value: state.beam, min: 1, max: 16, step: 1 }, (value) => {
    state.beam = value;
  });
  wide.addEventListener("change", () => run(views.filter((each) => each.name === "beam")));
  const worth = check(say("switch off each head in turn, to see what it is worth"), Boolean(state.worth), (on) => {
    state.worth = on;
    run(views.filter((each) => each.name === "attention"));
  });
  const root = make("div", { class: "look" }, make("section", { class: "box" }, field, make("div", { class: "row" }, go, worth, ...(writes ? [wide] : []))), ...views.map((each) => each.section));
  queueMicrotask(() => {
    const unanswered = views.filter((each) => state.fresh || state.running[each.name]);
    views.filter((each) => !unanswered.includes(each)).forEach(show); // once it is on the page, where figures know their width
    run(unanswered); // also what was asked before the reader went elsewhere
    state.fresh = false;
  });
  return root;
}
