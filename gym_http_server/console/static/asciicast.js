// Player of text videos (asciicast v1). Without JavaScript they can be downloaded.

import { show } from "./watch/ansi.js";

const NEW_SCREEN = /\x1b\[[0-3]?J(?:\x1b\[(?:1;1)?H)?|\x1b\[(?:1;1)?H(?:\x1b\[[0-3]?J)?/;
const MAX_PAUSE_SECONDS = 2;
const MAX_SCREEN_CHARACTERS = 20000;

// Returns the frames: texts of the screen, and when each begins, in seconds.
function framesOf(cast) {
  if (cast.version !== 1 || !Array.isArray(cast.stdout)) throw new TypeError("not an asciicast v1");
  const frames = [];
  let screen = "", at = 0;
  for (const [delay, text] of cast.stdout) {
    at += Math.min(Math.max(Number(delay) || 0, 0), MAX_PAUSE_SECONDS);
    const parts = String(text).split(NEW_SCREEN);
    screen = parts.length > 1 ? parts.at(-1) : screen + text;
    screen = screen.slice(-MAX_SCREEN_CHARACTERS);
    if (screen.trim() !== "") frames.push({ at, text: screen });
  }
  if (frames.length === 0) throw new TypeError("an empty asciicast");
  return frames;
}

function element(tag, attributes) {
  return Object.assign(document.createElement(tag), attributes);
}

async function load(cast) {
  const reply = await fetch(cast.dataset.source);
  if (!reply.ok) throw new Error(`status ${reply.status}`);
  return framesOf(await reply.json());
}

function player(cast) {
  const pre = element("pre", { tabIndex: 0, ariaLabel: cast.dataset.title });
  const button = element("button", { type: "button", textContent: "Play" });
  const slider = element("input", { type: "range", min: 0, max: 0, value: 0, ariaLabel: "Frame" });
  const bar = element("div", { className: "bar" });
  bar.append(button, slider);
  cast.append(pre, bar);
  let frames = null, timer = 0;

  function go(index) {
    slider.value = index;
    show(pre, frames[index].text);
  }
  function stop() {
    clearTimeout(timer);
    timer = 0;
    button.textContent = "Play";
  }
  function advance() {
    const now = Number(slider.value);
    if (now + 1 >= frames.length) return stop();
    timer = setTimeout(() => { go(now + 1); advance(); }, 1000 * (frames[now + 1].at - frames[now].at));
  }
  async function ready() {
    try {
      frames ??= await load(cast);
    } catch (error) {
      pre.textContent = `It cannot be shown: ${error.message}`;
      button.disabled = slider.disabled = true;
      return false;
    }
    slider.max = frames.length - 1;
    go(Number(slider.value));
    return true;
  }

  button.addEventListener("click", async () => {
    if (timer !== 0) return stop();
    if (!await ready()) return;
    if (slider.value === slider.max) go(0);
    button.textContent = "Pause";
    advance();
  });
  slider.addEventListener("input", () => { stop(); if (frames) go(Number(slider.value)); });
  if ("load" in cast.dataset) ready();
}

document.querySelectorAll(".cast").forEach(player);
