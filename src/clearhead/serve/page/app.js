// The page of a server: its models, its tabs, its language; each tab is a module of its own.

import { ask, keepKey } from "./api.js";
import { make, roving } from "./dom.js";
import { failed } from "./form.js";
import { language, remember, remembered, say, settle, switches } from "./language.js";
import { look } from "./look.js";
import { classify, embed, fill } from "./read.js";
import { translate } from "./translate.js";
import { write } from "./write.js";

const TABS = { translator: ["translate"], writer: ["write"], encoder: ["fill", "embed"], classifier: ["classify"] };
const VIEWS = { translate, write, fill, embed, classify, look };
const [head, main] = [document.getElementById("head"), document.getElementById("main")];
const states = new Map();
let models = [];
let model = null;
let tab = "";

/** What a tab of a model keeps while the reader is elsewhere. */
function stateOf(name) {
  const key = JSON.stringify([model.name, name]);
  if (!states.has(key)) states.set(key, {});
  return states.get(key);
}

function tabsOf(one) {
  return [...TABS[one.kind], ...(one.looks_inside ? ["look"] : [])];
}

function titles() {
  return { translate: say("Translate"), write: say("Write"), fill: say("Fill"), embed: say("Compare"), classify: say("Classify"), look: say("Look inside") };
}

/** Shows a tab of the model that is chosen. */
function open(name) {
  tab = name;
  history.replaceState(null, "", `#${name}`);
  const inside = (text) => {
    Object.assign(stateOf("look"), { text, fresh: true });
    draw("look");
  };
  const panel = make("div", { role: "tabpanel", id: "panel", "aria-labelledby": `tab-${name}` });
  main.replaceChildren(panel);
  panel.append(VIEWS[name](model, stateOf(name), inside));
  for (const button of head.querySelectorAll("[role=tab]")) {
    button.setAttribute("aria-selected", String(button.id === `tab-${name}`));
    button.tabIndex = button.id === `tab-${name}` ? 0 : -1;
  }
}

/** Draws the head of the page, and a tab. */
function draw(name = tab) {
  const choice = make("select", { "aria-label": say("model") }, ...models.map((one) => make("option", { value: one.name }, one.name)));
  choice.value = model.name;
  choice.addEventListener("change", () => {
    model = models.find((one) => one.name === choice.value);
    remember("model", model.name);
    draw(tabsOf(model).includes(tab) ? tab : tabsOf(model)[0]);
  });
  const buttons = tabsOf(model).map((one) => make("button", { type: "button", role: "tab", id: `tab-${one}`, "aria-controls": "panel", onclick: () => open(one) }, titles()[one]));
  const tabs = make("div", { class: "tabs", role: "tablist" }, ...buttons);
  roving(tabs, buttons, buttons.length);
  head.replaceChildren(make("h1", {}, "clearhead"), choice, tabs, make("div", { id: "switches" }, ...switches(speak)));
  open(tabsOf(model).includes(name) ? name : tabsOf(model)[0]);
}

function speak(chosen) {
  document.documentElement.lang = chosen;
  remember("language", chosen);
  if (model) draw();
}

/** Asks for a key where the server wants one. */
function askForKey(message) {
  const field = make("input", { type: "password", "aria-label": say("key"), autocomplete: "off" });
  const form = make("form", { class: "box ask" }, make("p", {}, message), field, make("button", { class: "main" }, say("go on")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keepKey(field.value);
    begin();
  });
  main.replaceChildren(form);
}

async function begin() {
  try {
    const info = await ask("info", {});
    models = info.models.filter((one) => one.checkpoint);
    if (!models.length) throw new Error(say("no model is loaded yet"));
    model = models.find((one) => one.name === remembered("model")) ?? models[0];
    draw(location.hash.slice(1));
  } catch (error) {
    if (error.status === 401) askForKey(error.message);
    else failed(main, error);
  }
  document.documentElement.dataset.ready = "true";
}

settle(await (await fetch("page/settings.json")).json());
const wanted = remembered("language") ?? navigator.language;
document.documentElement.lang = wanted.startsWith("zh") ? "zh" : "en";
document.title = `clearhead · ${language() === "zh" ? "模型" : "models"}`;
window.addEventListener("hashchange", () => model && tabsOf(model).includes(location.hash.slice(1)) && open(location.hash.slice(1)));
await begin();
