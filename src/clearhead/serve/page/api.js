// Asks the server that the page came from: calls with an answer, and streams of events.

import { language, remember, remembered, say } from "./language.js";

/** What a server says of a request that it does not answer. */
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function keyOf() {
  return remembered("key") ?? "";
}

export function keepKey(key) {
  remember("key", key);
}

function headers() {
  const key = keyOf();
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function post(name, fields, signal) {
  let answer;
  try {
    answer = await fetch(`api/${name}`, { method: "POST", headers: headers(), body: JSON.stringify(fields), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(say("the server does not answer"), 0);
  }
  if (answer.ok) return answer;
  const tree = await answer.json().catch(() => ({}));
  throw new Refusal(reasonOf(tree, answer.status), answer.status);
}

/** Why a server does not answer: in the reader's language where it is one of the usual reasons, and in its own words. */
function reasonOf(tree, status) {
  const usual = {
    rate_limit_exceeded: say("too many requests wait; try again in a moment"),
    overloaded: say("the request waited too long; try again in a moment"),
    timeout: say("the answer took too long"),
    too_many_pieces: say("the text is too long"),
    request_too_large: say("the text is too long"),
    loading: say("the model is still being loaded"),
    shutting_down: say("the server is ending"),
    invalid_api_key: say("the server needs a key that it knows"),
  }[tree.code];
  if (typeof tree.error !== "string") return say("the server refused: {status}", { status });
  return usual && language() !== "en" ? `${usual} (${tree.error})` : tree.error;
}

/** Returns what an interface answers, with the milliseconds that it took. */
export async function ask(name, fields, signal) {
  const began = performance.now();
  const answer = await post(name, fields, signal);
  return { ...(await answer.json()), ms: performance.now() - began, checkpoint: answer.headers.get("X-Clearhead-Checkpoint") };
}

/** Calls a function with each event of a stream. */
export async function stream(name, fields, onEvent, signal) {
  const answer = await post(name, fields, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const { events, rest } = eventsOf(waiting + value);
    waiting = rest;
    for (const event of events) {
      if (event.error) throw new Refusal(reasonOf(event, 0), 0);
      onEvent(event);
    }
  }
}

/** Divides what has come of a stream into whole events, and the beginning of the next. */
export function eventsOf(text) {
  const parts = text.split("\n\n");
  const rest = parts.pop();
  const data = parts.filter((part) => part.startsWith("data: ")).map((part) => part.slice(6));
  return { events: data.filter((each) => each !== "[DONE]").map((each) => JSON.parse(each)), rest };
}
