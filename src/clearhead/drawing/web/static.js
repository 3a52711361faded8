// A page from disk: its figures come to life from the data that it holds, in either language and theme.

import { curves } from "./curves.js";
import { attention } from "./heads.js";
import { switches } from "./language.js";
import { steps } from "./steps.js";
import { explainHeads } from "./terms.js";
import { beam } from "./tree.js";

const KINDS = { attention, beam, curves, steps };

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
  drawAll();
}

const buttons = document.getElementById("switches");
if (buttons) {
  const [tongue, theme] = switches(speak);
  if (document.querySelector("[data-zh], [data-language]")) buttons.append(tongue);
  buttons.append(theme);
}
drawAll();
explainHeads(document);
document.documentElement.dataset.ready = "true";
