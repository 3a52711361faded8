// Makes elements. What comes from a text, a model or a run goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** Makes an element: attributes by name, listeners by "on" and their event, style as an object; then its children. */
export function make(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** Makes an element of an SVG picture. */
export function draw(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") styled(element, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets properties of an element's style, which a policy against styles in attributes allows. */
export function styled(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, String(value));
  return element;
}

/** A name that may go on in the next line behind its dots. */
export function breakable(name) {
  return name.split(/(?<=[./])/).flatMap((part, at) => (at ? [make("wbr"), part] : [part]));
}

/** Moves the focus among buttons of a row or grid by the arrow keys: one stop for the tab key. */
export function roving(holder, buttons, columns) {
  holder.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    const at = buttons.indexOf(document.activeElement);
    const next = step === undefined ? { Home: 0, End: buttons.length - 1 }[event.key] : at + step;
    if (at < 0 || next === undefined || !buttons[next]) return;
    event.preventDefault();
    for (const one of buttons) one.tabIndex = -1;
    buttons[next].tabIndex = 0;
    buttons[next].focus();
  });
}

/** A table: rows of texts or elements below names of columns; numbers stand on the right where the name begins with >. */
export function table(columns, rows, attributes = {}) {
  const right = columns.map((name) => typeof name === "string" && name.startsWith(">"));
  const shown = (name) => (typeof name === "string" ? name.replace(/^>/, "") : name);
  const kind = (at) => (right[at] ? { class: "number" } : {});
  return make(
    "table",
    attributes,
    make("thead", {}, make("tr", {}, ...columns.map((name, at) => make("th", { scope: "col", ...kind(at) }, shown(name))))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, at) => make("td", kind(at), cell))))),
  );
}

/** A piece as people read it: its space is a space, a line break is seen. */
export function readable(piece) {
  return piece.replaceAll("▁", " ").replaceAll("\n", "⏎");
}
