// Charts of measured values that one can move, and sliders over measurements at several values of a knob.
// Plain JavaScript; without it a page shows a still picture and one measurement.

const WORDS = {
  en: { hint: "Drag the slider or point at the chart; a click on a name hides its curve.", log: "logarithmic" },
  zh: { hint: "拖动滑块或指向图中；点击名称可隐藏对应的曲线。", log: "对数刻度" },
};
const say = WORDS[document.documentElement.lang.startsWith("zh") ? "zh" : "en"];
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 260, LEFT = 58, RIGHT = 14, TOP = 10, BOTTOM = 38;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

const shown = (value) => (value === null ? "-" : String(Number(value.toPrecision(4))));

// Round numbers between two ends, at most `most` of them.
function ticks(low, high, most) {
  if (!(high > low)) return [low];
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, number) => Number(((first + number) * step).toPrecision(12)));
}

// Powers of ten between two ends; with few of them, twice and five times of each too.
function powers(low, high) {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const stride = Math.max(1, Math.ceil((last - first) / 6));
  const factors = last - first <= 2 ? [1, 2, 5] : [1];
  const all = [];
  for (let power = first; power <= last; power += stride) for (const factor of factors) all.push(factor * 10 ** power);
  return all.filter((value) => value >= low * 0.999 && value <= high * 1.001);
}

function ends(values) {
  const finite = values.filter((value) => value !== null);
  return finite.length ? [Math.min(...finite), Math.max(...finite)] : [0, 1];
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.told = JSON.parse(figure.querySelector("script").textContent);
    this.hidden = new Set();
    this.at = this.told.x.length - 1;
    this.range = null; // the ends of y, where charts beside this one have the same
    const [low, high] = ends(this.values());
    this.canLog = low > 0 && high / low > 30;
    this.log = false;
    this.build();
  }

  values() {
    return this.told.lines.filter((line) => !this.hidden.has(line.name)).flatMap((line) => line.y);
  }

  build() {
    this.svg = drawn("svg", { role: "img", "aria-label": this.told.title, height: HEIGHT });
    this.slider = element("input", { type: "range", min: 0, max: this.told.x.length - 1, step: 1, value: this.at });
    this.slider.setAttribute("aria-label", this.told.axis);
    this.said = element("output", { class: "chart-x" });
    this.legend = element("div", { class: "chart-legend" });
    for (const line of this.told.lines) this.legend.append(this.entry(line));
    const controls = element("div", { class: "chart-controls" }, this.slider, this.said);
    if (this.canLog) controls.append(this.logSwitch());
    const hint = element("p", { class: "chart-hint" }, say.hint);
    this.figure.querySelector(".still").replaceWith(this.svg, controls, this.legend, hint);
    this.slider.addEventListener("input", () => this.move(Number(this.slider.value)));
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerdown", (event) => this.point(event));
    new ResizeObserver(() => this.draw()).observe(this.figure);
    this.draw();
  }

  entry(line) {
    const value = element("span", { class: "chart-value" });
    const button = element("button", { type: "button", "aria-pressed": "true", style: `--hue: ${line.hue}` }, line.name, value);
    button.addEventListener("click", () => {
      this.hidden.has(line.name) ? this.hidden.delete(line.name) : this.hidden.add(line.name);
      button.setAttribute("aria-pressed", String(!this.hidden.has(line.name)));
      this.draw();
    });
    line.value = value;
    return button;
  }

  logSwitch() {
    const box = element("input", { type: "checkbox" });
    box.addEventListener("change", () => {
      this.log = box.checked;
      this.draw();
    });
    return element("label", { class: "chart-log" }, box, ` ${say.log}`);
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    const { x } = this.told, wanted = x[0] + share * (x[x.length - 1] - x[0]);
    const distances = x.map((value) => Math.abs(value - wanted));
    this.move(distances.indexOf(Math.min(...distances)));
    this.slider.value = this.at;
  }

  move(at) {
    this.at = at;
    const x = this.told.x[at];
    this.said.textContent = `${this.told.axis} = ${shown(x)}`;
    for (const line of this.told.lines) line.value.textContent = shown(line.y[at]);
    this.cursor?.setAttribute("transform", `translate(${this.across(x)} 0)`);
    this.told.lines.forEach((line, number) => {
      const dot = this.dots?.[number], y = line.y[at];
      dot?.setAttribute("display", y === null || this.hidden.has(line.name) ? "none" : "inline");
      if (dot && y !== null) dot.setAttribute("transform", `translate(${this.across(x)} ${this.down(y)})`);
    });
  }

  draw() {
    const width = this.svg.getBoundingClientRect().width;
    if (!width) return; // not shown yet
    const { x, lines, axis } = this.told, visible = lines.filter((line) => !this.hidden.has(line.name));
    let [low, high] = this.range ?? ends(this.values());
    if (high === low) [low, high] = [low - 0.5, high + 0.5];
    const scale = this.log ? Math.log10 : (value) => value;
    const inner = width - LEFT - RIGHT, tall = HEIGHT - TOP - BOTTOM, span = x[x.length - 1] - x[0] || 1;
    this.across = (value) => LEFT + (inner * (value - x[0])) / span;
    this.down = (value) => TOP + tall - (tall * (scale(value) - scale(low))) / (scale(high) - scale(low));
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.replaceChildren();
    for (const value of this.log ? powers(low, high) : ticks(low, high, 5)) this.rule(value, width);
    for (const value of ticks(x[0], x[x.length - 1], Math.max(2, Math.floor(inner / 90)))) {
      this.svg.append(drawn("text", { x: this.across(value), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, shown(value)));
    }
    this.svg.append(drawn("text", { x: LEFT + inner / 2, y: HEIGHT - 4, "text-anchor": "middle" }, axis));
    this.cursor = drawn("line", { class: "chart-cursor", y1: TOP, y2: TOP + tall });
    this.svg.append(this.cursor);
    for (const line of visible) this.curve(line);
    this.dots = lines.map((line) => drawn("circle", { r: 4, style: `--hue: ${line.hue}` }));
    this.svg.append(...this.dots);
    this.move(this.at);
  }

  rule(value, width) {
    const y = this.down(value);
    this.svg.append(drawn("line", { class: "chart-rule", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
    this.svg.append(drawn("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, shown(value)));
  }

  // A curve is interrupted where a value is not finite.
  curve(line) {
    let path = "", down = false;
    line.y.forEach((y, number) => {
      if (y !== null) path += `${down ? "L" : "M"}${this.across(this.told.x[number]).toFixed(1)} ${this.down(y).toFixed(1)}`;
      down = y !== null;
    });
    this.svg.append(drawn("path", { d: path, class: "chart-curve", style: `--hue: ${line.hue}` }));
  }
}

// A slider that shows one of several measurements; what differs between them is marked, unless that is most of it.
function sweep(place, charts) {
  const frames = [...place.querySelectorAll(":scope > .at")];
  const first = Math.max(0, frames.findIndex((frame) => !frame.hidden));
  const slider = element("input", { type: "range", min: 0, max: frames.length - 1, step: 1, value: first });
  slider.setAttribute("aria-label", place.dataset.knob);
  const said = element("output", { class: "sweep-value" });
  place.prepend(element("div", { class: "sweep-controls" }, slider, said));
  share(frames.map((frame) => [...frame.querySelectorAll("figure.chart")].map((figure) => charts.get(figure))));
  markMoving(frames);
  const show = () => {
    frames.forEach((frame, number) => (frame.hidden = number !== Number(slider.value)));
    const { value } = frames[Number(slider.value)].dataset;
    said.textContent = place.dataset.said.replace("{knob}", place.dataset.knob).replace("{value}", value);
  };
  slider.addEventListener("input", show);
  show();
}

// Charts at the same place of all measurements have the same ends, so that moving the slider moves the curves.
function share(rows) {
  for (let number = 0; number < Math.min(...rows.map((row) => row.length)); number++) {
    const same = rows.map((row) => row[number]), range = ends(same.flatMap((chart) => chart.values()));
    for (const chart of same) chart.range = range;
  }
}

function markMoving(frames) {
  const cells = frames.map((frame) => [...frame.querySelectorAll("td")]);
  if (new Set(cells.map((row) => row.length)).size !== 1) return;
  const columns = cells[0].map((_, number) => cells.map((row) => row[number]));
  const moving = columns.filter((same) => new Set(same.map((cell) => cell.textContent)).size > 1);
  if (moving.length <= columns.length / 2) for (const cell of moving.flat()) cell.classList.add("moves");
}

const charts = new Map([...document.querySelectorAll("figure.chart")].map((figure) => [figure, new Chart(figure)]));
for (const place of document.querySelectorAll(".sweep")) sweep(place, charts);
document.documentElement.dataset.ready = "true";
