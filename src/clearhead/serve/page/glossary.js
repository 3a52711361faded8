// A glossary that the browser keeps: phrases that a translation must contain, or must not, where a word is in the text.

import { make } from "./dom.js";
import { remember, remembered, say } from "./language.js";

/** Reads what was kept for a pair of languages; nothing of what is damaged. */
export function kept(pair) {
  try {
    const rows = JSON.parse(remembered(`glossary.${pair}`) ?? "[]");
    return rows.filter((row) => row && typeof row.source === "string" && typeof row.target === "string").map(({ source, target, avoid }) => ({ source, target, avoid: Boolean(avoid) }));
  } catch {
    return [];
  }
}

/** What is asked of every translation, and what where a source is in the text, which the server finds out. */
export function demands(rows) {
  const whole = rows.filter((row) => row.target.trim());
  const phrases = (avoid) => [...new Set(whole.filter((row) => row.avoid === avoid && !row.source.trim()).map((row) => row.target.trim()))];
  const pairs = (avoid) => whole.filter((row) => row.avoid === avoid && row.source.trim()).map((row) => [row.source.trim(), row.target.trim()]);
  return { require: phrases(false), avoid: phrases(true), glossary: pairs(false), avoid_where: pairs(true) };
}

/** The table of a glossary; ``changed`` is called with all rows. */
export function glossary(pair, changed) {
  let rows = kept(pair);
  const body = make("tbody");
  const save = () => {
    remember(`glossary.${pair}`, JSON.stringify(rows));
    changed(rows);
  };

  function field(row, name, label) {
    const input = make("input", { type: "text", "aria-label": label, maxlength: 200 });
    input.value = row[name];
    input.addEventListener("input", () => {
      row[name] = input.value;
      save();
    });
    return make("td", {}, input);
  }

  function line(row) {
    const kind = make("select", { "aria-label": say("what is asked") }, make("option", { value: "" }, say("must contain")), make("option", { value: "avoid" }, say("must not contain")));
    kind.value = row.avoid ? "avoid" : "";
    kind.addEventListener("change", () => {
      row.avoid = kind.value === "avoid";
      save();
    });
    const drop = make("button", { type: "button", class: "small", title: say("remove"), "aria-label": say("remove") }, "×");
    const shown = make("tr", {}, field(row, "source", say("where the text has")), make("td", {}, kind), field(row, "target", say("phrase")), make("td", {}, drop));
    drop.addEventListener("click", () => {
      rows = rows.filter((each) => each !== row);
      shown.remove();
      save();
    });
    return shown;
  }

  body.append(...rows.map(line));
  const add = make("button", { type: "button", class: "small" }, say("add a phrase"));
  add.addEventListener("click", () => {
    const row = { source: "", target: "", avoid: false };
    rows.push(row);
    body.append(line(row));
    body.lastChild.querySelector("input").focus();
  });
  const heads = [say("where the text has"), say("the translation"), say("phrase"), ""].map((name) => make("th", { scope: "col" }, name));
  return make(
    "details",
    { class: "glossary", open: rows.length > 0 },
    make("summary", {}, say("glossary")),
    make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body),
    add,
    make("p", { class: "quiet" }, say("It stays in this browser. An empty first column means every text.")),
  );
}
