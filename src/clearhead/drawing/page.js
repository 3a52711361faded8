// Brings the figures of a page to life: attention maps, the tree of a beam, curves. Plain module, nothing from elsewhere.

const SVG = "http://www.w3.org/2000/svg";
const DARK = matchMedia("(prefers-color-scheme: dark)");
const WORDS = JSON.parse(document.getElementById("words")?.textContent ?? "{}");
const percent = (share) => `${Math.round(share * 1000) / 10} %`;

/** A text of the program in the reader's language, with its {slots} filled; a figure brings words of its own. */
function say(text, values = {}, words = {}) {
  const chinese = document.documentElement.lang === "zh" ? (words[text] ?? WORDS[text] ?? text) : text;
  return chinese.replace(/\{(\w+)\}/g, (slot, name) => values[name] ?? slot);
}

/** Makes an element with attributes and children; text is text, never markup. */
function make(tag, attributes = {}, ...children) {
  const found = document.createElement(tag);
  return fill(found, attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A name that may go on in the next line behind its dots. */
function breakable(name) {
  return name.split(/(?<=[./])/).flatMap((part, at) => (at ? [make("wbr"), part] : [part]));
}

/** Moves the focus among buttons of a row or grid by the arrow keys: one stop for the tab key. */
function roving(holder, buttons, columns) {
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

/** Paints weights 0..255 of [queries, keys] on a canvas, one pixel each, to be scaled. */
function paint(canvas, weights, queries, keys) {
  canvas.width = keys;
  canvas.height = queries;
  const context = canvas.getContext("2d");
  const image = context.createImageData(keys, queries);
  const [low, high] = DARK.matches ? [[24, 26, 31], [255, 196, 92]] : [[255, 255, 255], [20, 62, 130]];
  for (let at = 0; at < weights.length; at++) {
    const share = Math.sqrt(weights[at] / 255); // small weights are seen too
    for (let hue = 0; hue < 3; hue++) image.data[4 * at + hue] = low[hue] + share * (high[hue] - low[hue]);
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function unpack(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Attention: a grid of all heads to choose from, and the chosen one in full with its pieces. */
function attention(figure, data) {
  const panels = data.panels.map((panel) => ({ ...panel, words: data.words, heads: panel.weights.map(unpack) }));
  const large = make("div", { class: "map" });
  const said = make("p", { class: "said", "aria-live": "polite" });
  const choices = make("div", { class: "heads", role: "group", "aria-label": say("heads of all layers") });
  const buttons = [];
  const repaint = [];
  const most = Math.max(...panels.map((panel) => panel.heads.length));
  let chosen = null;

  function choose(panel, head, button) {
    for (const one of buttons) one.setAttribute("aria-pressed", String(one === button));
    chosen = [panel, head];
    large.replaceChildren(...whole(panel, head, said));
    said.textContent = `${panel.name}, ${say(panel.captions[head], {}, panel.words)}`;
  }

  panels.forEach((panel, number) => {
    const row = make("div", { class: "row" }, make("span", { class: "name" }, ...breakable(`${panel.name} (${say(panel.kind, {}, panel.words)})`)));
    panel.heads.forEach((weights, head) => {
      const small = make("canvas", { "aria-hidden": "true" });
      const label = `${panel.name}, ${say(panel.captions[head], {}, panel.words)}`;
      const button = make(
        "button",
        { type: "button", title: label, "aria-label": label, "aria-pressed": "false", tabindex: buttons.length ? -1 : 0 },
        small,
      );
      button.addEventListener("click", () => choose(panel, head, button));
      repaint.push(() => paint(small, weights, panel.queries.length, panel.keys.length));
      buttons.push(button);
      row.append(button);
      if (number === data.focus.at(-1) && head === data.shown[number]) chosen = [panel, head, button];
    });
    choices.append(row);
  });
  roving(choices, buttons, most);
  figure.append(make("div", { class: "pair" }, choices, make("div", {}, said, large)));
  const start = chosen ?? [panels[0], 0, buttons[0]];
  const all = () => {
    for (const one of repaint) one();
  };
  all();
  choose(...start);
  DARK.addEventListener("change", () => {
    all();
    large.replaceChildren(...whole(chosen[0], chosen[1], said));
  });
}

/** The map of one head: a grid of cells with the pieces beside it, and what each cell says. */
function whole(panel, head, said) {
  const weights = panel.heads[head];
  const [queries, keys] = [panel.queries.length, panel.keys.length];
  const canvas = make("canvas", { role: "img", tabindex: 0 });
  paint(canvas, weights, queries, keys);
  const top = weights.length ? strongest(panel, weights) : "";
  const caption = `${panel.name}, ${say(panel.captions[head], {}, panel.words)}`;
  canvas.setAttribute("aria-label", `${caption}. ${top} ${say("Arrow keys read single weights.")}`);
  const marker = make("div", { class: "marker", hidden: true });
  const down = make("div", { class: "queries" }, ...panel.queries.map((piece) => make("span", {}, piece)));
  const across = make("div", { class: "keys" }, ...panel.keys.map((piece) => make("span", {}, piece)));
  let [row, column] = [0, 0];

  function tell() {
    const share = weights[row * keys + column] / 255;
    const values = { query: panel.queries[row], key: panel.keys[column], share: percent(share), row: row + 1, column: column + 1 };
    said.textContent = say("{query} looks at {key}: {share} (row {row}, column {column})", values);
    marker.hidden = false;
    marker.style.left = `${(100 * column) / keys}%`;
    marker.style.top = `${(100 * row) / queries}%`;
    marker.style.width = `${100 / keys}%`;
    marker.style.height = `${100 / queries}%`;
    [...down.children].forEach((one, at) => one.classList.toggle("on", at === row));
    [...across.children].forEach((one, at) => one.classList.toggle("on", at === column));
  }

  function point(event) {
    const box = canvas.getBoundingClientRect();
    column = Math.min(keys - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * keys)));
    row = Math.min(queries - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * queries)));
    tell();
  }

  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point); // a finger points by touching
  canvas.addEventListener("focus", tell);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    row = Math.min(queries - 1, Math.max(0, row + step[0]));
    column = Math.min(keys - 1, Math.max(0, column + step[1]));
    tell();
  });
  const plot = make("div", { class: "plot" }, canvas, marker);
  const size = Math.max(6, Math.min(26, Math.floor(900 / Math.max(queries, keys))));
  const grid = make("div", { class: size < 12 ? "grid dense" : "grid" }, down, plot, make("span"), across);
  grid.style.setProperty("--cell", `${size}px`);
  grid.style.setProperty("--queries", queries);
  grid.style.setProperty("--keys", keys);
  return [grid];
}

/** Says where most of a head's attention goes, for those who do not see it. */
function strongest(panel, weights) {
  const keys = panel.keys.length;
  const found = panel.queries.slice(0, 40).map((piece, row) => {
    let best = 0;
    for (let at = 1; at < keys; at++) if (weights[row * keys + at] > weights[row * keys + best]) best = at;
    const share = percent(weights[row * keys + best] / 255);
    return say("{query} looks most at {key}, {share}", { query: piece, key: panel.keys[best], share });
  });
  return `${found.join("; ")}.`;
}

/** The tree of a beam: steps to the right, the best candidate on top; a hypothesis says what became of it. */
function beam(figure, data) {
  const { nodes, returned, why } = data;
  const steps = Math.max(...nodes.map((node) => node.step));
  const ranks = Math.max(...nodes.map((node) => node.rank));
  const [wide, high, left, top] = [96, 26, 8, 22];
  const place = (node) => [left + (node.step - 1) * wide, top + (node.rank - 1) * high];
  const svg = draw("svg", {
    viewBox: `0 0 ${left + steps * wide} ${top + ranks * high + 6}`,
    width: left + steps * wide,
    height: top + ranks * high + 6,
    role: "group",
    "aria-label": say("tree of {count} candidates in {steps} steps; the results are in the tables above", { count: nodes.length, steps }),
  });
  const said = make("p", { class: "said", "aria-live": "polite" });
  for (let step = 1; step <= steps; step++) {
    svg.append(draw("text", { x: left + (step - 1) * wide, y: 12, class: "axis" }, say("step {step}", { step })));
  }
  const boxes = [];
  const links = nodes.map((node) => {
    const parent = node.parent === null ? null : nodes[node.parent];
    const [x, y] = place(node);
    if (!parent) return null;
    const [px, py] = place(parent);
    const begin = px + wide - 18;
    const link = draw("path", { d: `M${begin} ${py + 9} C${begin + 12} ${py + 9} ${x - 12} ${y + 9} ${x} ${y + 9}` });
    svg.append(link);
    return link;
  });

  const path = (at) => (at === null ? [] : [...path(nodes[at].parent), at]);

  function choose(at) {
    const own = new Set(path(at));
    const node = nodes[at];
    const pieces = [...own].map((one) => `${nodes[one].piece} ${nodes[one].log_prob.toFixed(4)}`);
    const place = returned.indexOf(at);
    const fate = say(why[node.fate], {}, data.words);
    const end = node.died === null ? fate : say("{fate} in step {step}", { fate, step: node.died });
    said.textContent = say("{sum}  =  {score}; with the length penalty {ranked}; candidate {rank} of its step: {end}", {
      sum: pieces.join("  +  "),
      score: node.score.toFixed(4),
      ranked: node.rank_score.toFixed(4),
      rank: node.rank,
      end: place < 0 ? end : say("result {place}", { place: place + 1 }),
    });
    boxes.forEach((box, number) => {
      box.classList.toggle("on", own.has(number));
      box.setAttribute("aria-pressed", String(number === at));
      box.setAttribute("tabindex", number === at ? 0 : -1);
      links[number]?.classList.toggle("on", own.has(number));
    });
  }

  nodes.forEach((node, at) => {
    const [x, y] = place(node);
    const lost = node.fate === "not kept" || node.fate === "late end";
    const result = returned.indexOf(at);
    const shape = draw("rect", { x, y, width: wide - 18, height: 19, rx: 4 });
    const letters = [...node.piece];
    const text = draw("text", { x: x + 5, y: y + 13.5 }, letters.length > 9 ? `${letters.slice(0, 8).join("")}…` : node.piece);
    const label = say("step {step}, candidate {rank}: {piece}, score {score}, {fate}", {
      step: node.step,
      rank: node.rank,
      piece: node.piece,
      score: node.score.toFixed(2),
      fate: say(why[node.fate], {}, data.words),
    });
    const box = draw(
      "g",
      {
        role: "button",
        tabindex: -1,
        class: `node${lost ? " lost" : ""}${node.best ? " best" : ""}${result >= 0 ? " result" : ""}`,
        "aria-label": label,
      },
      draw("title", {}, label),
      shape,
      text,
    );
    box.addEventListener("click", () => choose(at));
    box.addEventListener("focus", () => choose(at));
    boxes.push(box);
    svg.append(box);
  });
  // left and right follow the tree, up and down go through a step
  svg.addEventListener("keydown", (event) => {
    const at = boxes.indexOf(document.activeElement);
    if (at < 0) return;
    const column = nodes.map((node, number) => number).filter((number) => nodes[number].step === nodes[at].step);
    const beside = column.indexOf(at);
    const children = nodes.map((node, number) => number).filter((number) => nodes[number].parent === at);
    const next = {
      ArrowLeft: nodes[at].parent,
      ArrowRight: children[0],
      ArrowUp: column[beside - 1],
      ArrowDown: column[beside + 1],
    }[event.key];
    if (next === undefined || next === null) return;
    event.preventDefault();
    boxes[next].focus();
  });
  figure.append(said, make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": say("beam tree") }, svg));
  choose(returned[0] ?? 0);
}

/** Curves over layers, each with a switch; a value is said where the pointer is. */
function curves(figure, data) {
  const finite = data.lines.flatMap((line) => line.values).filter((value) => value !== null);
  const last = Math.max(...data.lines.map((line) => line.values.length)) - 1;
  const high = Math.max(...finite, 0) || 1;
  // as wide as its place on a narrow screen, where letters would shrink with it
  const [wide, tall, left, bottom] = [Math.max(280, Math.min(560, figure.clientWidth || 560)), 240, 44, 30];
  const x = (at) => left + (at * (wide - left - 10)) / (last || 1);
  const y = (value) => 10 + (1 - value / high) * (tall - bottom - 10);
  const axis = say(data.axis, {}, data.words);
  for (const line of data.lines) line.label = say(line.name, {}, data.words);
  const ends = data.lines.map((line) =>
    say("{line} from {first} to {last}", { line: line.label, first: spoken(line.values[0]), last: spoken(line.values[last]) }),
  );
  const svg = draw("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img", class: "curves", "aria-label": `${axis} 0 ... ${last}: ${ends.join("; ")}` });
  for (let tick = 0; tick <= 4; tick++) {
    const value = (high * tick) / 4;
    svg.append(draw("line", { x1: left, x2: wide - 10, y1: y(value), y2: y(value), class: "tick" }));
    svg.append(draw("text", { x: left - 6, y: y(value) + 4, class: "axis", "text-anchor": "end" }, value.toPrecision(2)));
  }
  const every = Math.ceil((last + 1) / (wide / 40));
  for (let at = 0; at <= last; at += every) {
    svg.append(draw("text", { x: x(at), y: tall - 10, class: "axis", "text-anchor": "middle" }, String(at)));
  }
  const said = make("p", { class: "said", "aria-live": "polite" }, say("{axis}; 0 is what goes in", { axis }));
  const switches = make("div", { class: "switches", role: "group", "aria-label": say("curves") });
  for (const line of data.lines) {
    const group = draw("g", { class: "line", style: `--hue: ${line.hue}` });
    const runs = line.values.map((value, at) => (value === null ? null : `${x(at).toFixed(1)},${y(value).toFixed(1)}`));
    for (const part of parts(runs)) group.append(draw("polyline", { points: part.join(" ") }));
    line.values.forEach((value, at) => {
      if (value === null) return;
      const text = `${line.label}, ${axis} ${at}: ${spoken(value)}`;
      const dot = draw("circle", { cx: x(at), cy: y(value), r: 4 }, draw("title", {}, text));
      dot.addEventListener("pointerenter", () => (said.textContent = text));
      group.append(dot);
    });
    svg.append(group);
    const button = make("button", { type: "button", "aria-pressed": "true", style: `--hue: ${line.hue}` }, line.label);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      group.classList.toggle("off", !on);
      said.textContent = `${line.label}: ${line.values.map(spoken).join(", ")}`;
    });
    switches.append(button);
  }
  figure.append(switches, svg, said);
}

const spoken = (value) => (value === null || value === undefined ? say("overflow") : value.toPrecision(3));

/** Cuts a list at its nulls. */
function parts(values) {
  const found = [[]];
  for (const value of values) value === null ? found.push([]) : found.at(-1).push(value);
  return found.filter((part) => part.length);
}

const KINDS = { attention, beam, curves };

/** Draws every figure in the reader's language. */
function drawAll() {
  for (const figure of document.querySelectorAll("figure.live")) {
    const data = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
    const still = figure.querySelector(".still");
    still.hidden = true;
    while (still.nextSibling) still.nextSibling.remove();
    KINDS[figure.dataset.kind](figure, data);
  }
}

/** Shows the page in the other language: its words, its figures, and which of the blocks that are in one language. */
function speak(language) {
  document.documentElement.lang = language;
  for (const word of document.querySelectorAll("[data-en][data-zh]")) word.textContent = word.dataset[language];
  for (const block of document.querySelectorAll("[data-language]")) block.hidden = block.dataset.language !== language;
  const button = document.getElementById("language");
  if (button) button.textContent = language === "zh" ? "English" : "中文";
  drawAll();
}

document.getElementById("language")?.addEventListener("click", () => speak(document.documentElement.lang === "zh" ? "en" : "zh"));
drawAll();
document.documentElement.dataset.ready = "true";
