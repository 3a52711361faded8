// What a page says, in the reader's language, and the theme that it is shown in.

import { make } from "./dom.js";

const SETTINGS = JSON.parse(document.getElementById("settings")?.textContent ?? "{}");
const KEPT = "clearhead";

/** Takes over words and colours that were fetched, where the page does not hold them itself. */
export function settle(settings) {
  Object.assign(SETTINGS, settings);
}

/** The two scales of colours, and the weights that a legend names. */
export function scaleOf() {
  return SETTINGS.scale;
}

export function language() {
  return document.documentElement.lang === "zh" ? "zh" : "en";
}

/** A text of the program in the reader's language, with its {slots} filled; a figure brings words of its own. */
export function say(text, values = {}, words = {}) {
  const spoken = language() === "zh" ? (words[text] ?? SETTINGS.words?.[text] ?? text) : text;
  return spoken.replace(/\{(\w+)\}/g, (slot, name) => values[name] ?? slot);
}

/** Whether the page is dark now: as chosen, else as the system is. */
export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function percent(share) {
  return `${Math.round(share * 1000) / 10}%`;
}

/** Calls a function now, and whenever the theme changes as long as the element that it paints is on the page. */
export function onTheme(element, paint) {
  paint();
  const again = () => (element.isConnected ? paint() : document.removeEventListener("clearhead-theme", again));
  document.addEventListener("clearhead-theme", again);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("clearhead-theme")));

/** What the reader chose before; nothing where the browser keeps nothing for this page. */
export function remembered(name) {
  try {
    return localStorage.getItem(`${KEPT}.${name}`);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`${KEPT}.${name}`, value);
  } catch {
    // a page from disk, or a private window: it is not kept
  }
}

/** The buttons in the head of a page, for its language and its theme. */
export function switches(speak) {
  const other = () => (language() === "zh" ? "English" : "中文");
  const tongue = make("button", { type: "button", id: "language", lang: language() === "zh" ? "en" : "zh" }, other());
  tongue.addEventListener("click", () => {
    speak(language() === "zh" ? "en" : "zh");
    tongue.textContent = other();
    tongue.lang = language() === "zh" ? "en" : "zh";
    name();
  });
  const theme = make("button", { type: "button", id: "theme" });
  const name = () => {
    theme.textContent = isDark() ? "☀" : "☾";
    const label = isDark() ? say("light colours") : say("dark colours");
    theme.setAttribute("aria-label", label);
    theme.title = label;
  };
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    remember("theme", document.documentElement.dataset.theme);
    document.dispatchEvent(new Event("clearhead-theme"));
  });
  const kept = remembered("theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  onTheme(theme, name);
  return [tongue, theme];
}
