// What the page has just asked, as a command and as a program, to be copied.

import { keyOf } from "./api.js";
import { make } from "./dom.js";
import { say } from "./language.js";

/** A command of a POSIX shell that asks the same. */
export function curlOf(name, fields, root, hasKey = false) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const key = hasKey ? ` -H "Authorization: Bearer $CLEARHEAD_KEY"` : "";
  const quiet = name === "generate" ? " -N" : "";
  return `curl${quiet} ${quoted(`${root}api/${name}`)} -H 'Content-Type: application/json'${key} -d ${quoted(JSON.stringify(fields))}`;
}

/** A value as Python spells it. */
export function pythonValue(value) {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(pythonValue).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, each]) => `${pythonValue(name)}: ${pythonValue(each)}`).join(", ")}}`;
  return JSON.stringify(value);
}

/** A program of Python's own library that asks the same. */
export function pythonOf(name, fields, root, hasKey = false) {
  const key = hasKey ? `, "Authorization": f"Bearer {os.environ['CLEARHEAD_KEY']}"` : "";
  const read = name === "generate" ? `    for line in answer:\n        print(line.decode(), end="")` : "    print(json.load(answer))";
  return [
    `import json${hasKey ? "\nimport os" : ""}`,
    "import urllib.request",
    "",
    `fields = ${pythonValue(fields)}`,
    `headers = {"Content-Type": "application/json"${key}}`,
    `request = urllib.request.Request(${JSON.stringify(`${root}api/${name}`)}, json.dumps(fields).encode(), headers)`,
    "with urllib.request.urlopen(request) as answer:",
    read,
    "",
  ].join("\n");
}

/** Two buttons that copy what ``asked`` returns, [name, fields]; they say nothing before anything was asked. */
export function copyButtons(asked) {
  const root = new URL(".", document.baseURI).href;
  const said = make("span", { class: "quiet", "aria-live": "polite" });
  const button = (label, spell) =>
    make("button", {
      type: "button",
      class: "small",
      onclick: async () => {
        const request = asked();
        if (!request) return;
        await copy(spell(...request, root, Boolean(keyOf())), said);
      },
    }, label);
  return make("span", { class: "copies" }, button(say("copy as curl"), curlOf), button(say("copy as Python"), pythonOf), said);
}

/** Copies a text; where the browser does not allow it, shows it to be copied by hand. */
async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = say("copied");
    setTimeout(() => (said.textContent = ""), 2000);
  } catch {
    const area = make("textarea", { readonly: true, rows: 8, "aria-label": say("to be copied") });
    area.value = text;
    const dialog = make("dialog", {}, area, make("button", { type: "button", onclick: () => dialog.close() }, say("close")));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    area.select();
  }
}
