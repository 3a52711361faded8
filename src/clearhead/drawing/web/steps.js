// Greedy decoding as a player: at each step what was read, what could come, what was taken, what the cache moved.

import { draw, make, readable, styled } from "./dom.js";
import { percent, say } from "./language.js";
import { term } from "./terms.js";

const PACE = 700; // milliseconds a step, where it plays by itself

/** Draws the steps of a text: forward, back, to the ends, or by itself; by buttons, slider and keys. */
export function steps(figure, data) {
  const all = data.steps;
  let at = 0;
  let playing = null;
  const text = make("p", { class: "written", "aria-live": "polite" });
  const bars = make("ol", { class: "bars" });
  const facts = make("p", { class: "facts" });
  const count = make("output", { class: "count" });
  const slider = make("input", { type: "range", min: 0, max: all.length - 1, value: 0, "aria-label": say("step") });
  const traffic = cacheOf(all, (step) => go(step));

  const button = (mark, label, act) => make("button", { type: "button", title: label, "aria-label": label, onclick: act }, mark);
  const play = make("button", { type: "button", class: "play", onclick: () => (playing ? stop() : start()) }, say("play"));
  const controls = make(
    "div",
    { class: "player", role: "group", "aria-label": say("go from step to step") },
    button("|◀", say("first step"), () => go(0)),
    button("◀", say("step back"), () => go(at - 1)),
    button("▶", say("step forward"), () => go(at + 1)),
    button("▶|", say("last step"), () => go(all.length - 1)),
    play,
    slider,
    count,
  );

  function go(step) {
    at = Math.min(all.length - 1, Math.max(0, step));
    const now = all[at];
    slider.value = at;
    count.textContent = say("step {step} of {count}", { step: at + 1, count: all.length });
    text.replaceChildren(
      ...now.input.map((piece, place) => make("span", { class: place === now.input.length - 1 ? "piece now" : "piece" }, readable(piece))),
      make("span", { class: "piece next" }, readable(now.chosen)),
    );
    bars.replaceChildren(...now.top.map(([piece, share]) => candidate(piece, share, piece === now.chosen)));
    facts.replaceChildren(...moved(now));
    traffic?.mark(at);
  }

  function start() {
    if (at === all.length - 1) go(0);
    play.textContent = say("pause");
    playing = setInterval(() => {
      if (!figure.isConnected || at === all.length - 1) stop();
      else go(at + 1);
    }, PACE);
  }

  function stop() {
    clearInterval(playing);
    playing = null;
    play.textContent = say("play");
  }

  slider.addEventListener("input", () => go(Number(slider.value)));
  const whole = make("div", { class: "steps", tabindex: 0, role: "group", "aria-label": say("steps of greedy decoding; arrow keys go forward and back") });
  whole.addEventListener("keydown", (event) => {
    if (event.target === slider) return; // which moves by these keys itself
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    go(next);
  });
  const left = make("div", { class: "now" }, text, bars);
  const right = make("div", { class: "traffic" }, facts, ...(traffic ? [traffic.element] : []));
  whole.append(controls, make("div", { class: "pair" }, left, right));
  figure.append(whole);
  go(0);
}

/** A candidate as a bar of its probability. */
export function candidate(piece, share, isChosen, act = null) {
  const bar = styled(make("span", { class: "bar" }), { width: `${100 * share}%` });
  const parts = [make("span", { class: "name" }, piece), make("span", { class: "track" }, bar), make("span", { class: "share" }, percent(share))];
  const inside = act ? make("button", { type: "button", onclick: act }, ...parts) : make("span", { class: "line" }, ...parts);
  return make("li", { class: isChosen ? "chosen" : null }, inside);
}

/** What a step read and wrote, by the formula and as measured. */
function moved(step) {
  if (!step.read && !step.written) return [say("no cache is kept: every step computes all positions")];
  const bytes = (count) => `${count.toLocaleString("en")} B`;
  const told = [term("cache", say("bytes of the cache")), ": ", say("read {read}, written {written}", { read: bytes(step.read), written: bytes(step.written) })];
  if (step.measured_read === null) return told;
  const same = step.measured_read === step.read && step.measured_written === step.written;
  const values = { read: bytes(step.measured_read), written: bytes(step.measured_written) };
  told.push(" · ", term("measured", say("measured")), same ? say(": the same") : `: ${say("read {read}, written {written}", values)}`);
  return told;
}

/** The bytes that each step read, as columns; a click goes to the step. */
function cacheOf(all, go) {
  const most = Math.max(...all.map((step) => step.read + step.written));
  if (!most) return null;
  const [wide, tall, left, top] = [420, 130, 64, 8];
  const width = Math.min(28, (wide - left) / all.length);
  const high = (bytes) => (bytes / most) * (tall - 24 - top);
  const svg = draw("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img", class: "columns", "aria-label": say("bytes of the cache at each step") });
  for (const share of [0, 0.5, 1]) {
    const y = tall - 24 - high(most * share);
    svg.append(draw("line", { x1: left, x2: wide, y1: y, y2: y, class: "tick" }));
    svg.append(draw("text", { x: left - 6, y: y + 4, class: "axis", "text-anchor": "end" }, kilo(most * share)));
  }
  const columns = all.map((step, at) => {
    const x = left + at * width;
    const read = draw("rect", { x, y: tall - 24 - high(step.read), width: width * 0.8, height: high(step.read), class: "read" });
    const y = tall - 24 - high(step.read + step.written);
    const written = draw("rect", { x, y, width: width * 0.8, height: high(step.written), class: "wrote" });
    const group = draw("g", { onclick: () => go(at) }, draw("title", {}, say("step {step}", { step: at + 1 })), read, written);
    svg.append(group);
    return group;
  });
  const every = Math.ceil(all.length / 12);
  all.forEach((_, at) => {
    if (at % every === 0) svg.append(draw("text", { x: left + (at + 0.4) * width, y: tall - 8, class: "axis", "text-anchor": "middle" }, String(at + 1)));
  });
  const key = make(
    "p",
    { class: "key" },
    make("span", { class: "swatch read" }),
    say("read from the cache"),
    make("span", { class: "swatch wrote" }),
    say("written to it"),
  );
  return { element: make("div", {}, svg, key), mark: (step) => columns.forEach((one, at) => one.classList.toggle("on", at === step)) };
}

function kilo(bytes) {
  return bytes >= 1e6 ? `${(bytes / 1e6).toPrecision(3)} MB` : bytes >= 1e3 ? `${(bytes / 1e3).toPrecision(3)} kB` : `${Math.round(bytes)} B`;
}
