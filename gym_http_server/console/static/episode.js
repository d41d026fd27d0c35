// The page of a recorded episode: its frames and values, step by step.

import { drawFrom } from "./watch/frames.js";
import { ask, pause, Problem } from "./watch/requests.js";
import { rowsOf, short, showRows } from "./watch/values.js";

const PAGE = 50; // states that are fetched at once with their values
const MAX_PAGES = 20;
const OVERVIEW = 10000; // states that are fetched at once without
const MAX_ELEMENTS = 2000;
const MAX_STEPS = 100000; // of the overview
const PATIENCE = 60000;
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [720, 160, 60, 22];

const at = (id) => document.getElementById(id);
const api = new URL(at("episode").dataset.api, location.href);
const film = at("film");
const slider = at("slider");

let about = null; // the episode, without its states
let overview = []; // its states without values
let hasValues = false;
let current = 0;
let timer = 0;
const pages = new Map();

/** Return how many numbers a value of a space has. */
function elements(space) {
  if (space.spaces) return Object.values(space.spaces).reduce((sum, each) => sum + elements(each), 0);
  return (space.shape ?? []).reduce((product, each) => product * each, 1);
}

function get(start, count, values) {
  const url = new URL(api);
  for (const [name, value] of Object.entries({ start, count, values })) url.searchParams.set(name, value);
  return ask(url);
}

/** Return a state with its values; pages of them are kept. */
async function stateAt(step) {
  if (!hasValues) return overview[step];
  const number = Math.floor(step / PAGE);
  if (!pages.has(number)) {
    if (pages.size >= MAX_PAGES) pages.delete(pages.keys().next().value);
    pages.set(number, get(number * PAGE, PAGE, true).then(({ states }) => states));
    pages.get(number).catch(() => pages.delete(number));
  }
  const states = await pages.get(number);
  return states[step - number * PAGE] ?? (await get(step, 1, true)).states[0];
}

function problem(error) {
  at("problem").hidden = error === null;
  if (error !== null) at("problem").textContent = error instanceof Problem ? error.message : "The server does not respond.";
}

async function showFrame(step) {
  if (film) {
    if (film.readyState < 1) await new Promise((resolve) => film.addEventListener("loadedmetadata", resolve, { once: true }));
    film.currentTime = (film.duration * (step + 0.5)) / (about.steps + 1);
    return;
  }
  const signal = AbortSignal.timeout(PATIENCE);
  const url = new URL(`frames/${step}/`, api);
  url.search = api.search;
  await drawFrom(at("frame"), url, `Frame of step ${step}`, { signal });
}

function without(words) {
  at("without-frame").hidden = words === "";
  at("without-frame").textContent = words;
}

function showState(state) {
  const isReset = state.step === 0;
  at("reward").textContent = isReset ? "–" : typeof state.reward === "object" && state.reward !== null ? JSON.stringify(state.reward) : short(state.reward);
  at("return").textContent = short(state.return);
  showRows(at("action"), isReset ? [{ name: "", text: "none, this is the reset" }] : rowsOf(state.action, about.action_space));
  const words = about.kept === "actions" ? "not kept in this recording" : "too large to be shown as numbers";
  showRows(at("observation"), "observation" in state ? rowsOf(state.observation, about.observation_space) : [{ name: "", text: words }]);
  at("info").textContent = "info" in state ? JSON.stringify(state.info) : "–";
}

/** Go to a step. Of several in a row, which a slider asks for, only the last is drawn. */
async function go(step) {
  current = Math.min(Math.max(step, 0), about.steps);
  const here = current;
  slider.value = here;
  const ends = here === about.steps ? overview[here] : undefined;
  const end = ends?.terminated === true ? ", terminated" : ends?.truncated === true ? ", truncated" : "";
  at("where").textContent = `${here.toLocaleString("en")} of ${about.steps.toLocaleString("en")}${here === 0 ? ", reset" : end}`;
  slider.setAttribute("aria-valuetext", at("where").textContent);
  moveCursor();
  try {
    const state = await stateAt(here);
    if (here !== current) return;
    showState(state);
    problem(null);
  } catch (error) {
    problem(error);
  }
  await draw();
}

let isDrawing = false;
let drawn = -1;

/** Draw the frame of the current step, and then of the one that is current by then. */
async function draw() {
  if (isDrawing) return;
  isDrawing = true;
  while (drawn !== current) {
    const step = current;
    try {
      await showFrame(step);
      without("");
    } catch (error) {
      without(`There is no frame: ${error.message}`);
    }
    drawn = step;
  }
  isDrawing = false;
}

function stop() {
  timer += 1;
  at("play").textContent = "Play";
}

async function play() {
  if (at("play").textContent === "Pause") return stop();
  at("play").textContent = "Pause";
  const own = timer += 1;
  if (current === about.steps) await go(0);
  while (own === timer && current < about.steps) {
    const began = performance.now();
    await go(current + 1);
    await pause(1000 / Number(at("rate").value) - (performance.now() - began));
  }
  if (own === timer) stop();
}

function svg(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function x(step) {
  return LEFT + (WIDTH - LEFT - 10) * (about.steps === 0 ? 0 : step / about.steps);
}

/** Return the path of values, of which the extremes of each pixel are kept. */
function path(values, first, least, most) {
  const y = (value) => 10 + (HEIGHT - BOTTOM - 20) * (most === least ? 0.5 : (most - value) / (most - least));
  const section = Math.max(1, Math.ceil((2 * values.length) / WIDTH));
  const points = [];
  for (let start = 0; start < values.length; start += section) {
    const part = values.slice(start, start + section);
    const low = part.indexOf(Math.min(...part)), high = part.indexOf(Math.max(...part));
    for (const place of new Set([Math.min(low, high), Math.max(low, high)])) points.push([start + place, part[place]]);
  }
  return points.map(([place, value], index) => `${index ? "L" : "M"}${x(first + place).toFixed(1)} ${y(value).toFixed(1)}`).join("");
}

function number(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

function drawPlot() {
  const returns = overview.map((state) => number(state.return));
  const rewards = overview.slice(1).map((state) => number(state.reward));
  const values = [...returns, ...rewards];
  const least = values.reduce((a, b) => Math.min(a, b), Infinity), most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Return so far and reward by step" });
  for (const [value, y] of most === least ? [[most, HEIGHT / 2]] : [[most, 14], [least, HEIGHT - BOTTOM - 6]]) {
    drawing.append(svg("text", { x: LEFT - 8, y, "text-anchor": "end" }, short(value)));
  }
  drawing.append(
    svg("text", { x: LEFT, y: HEIGHT - 5 }, "reset"),
    svg("text", { x: WIDTH - 10, y: HEIGHT - 5, "text-anchor": "end" }, `step ${overview.length - 1}`),
    svg("path", { d: path(rewards, 1, least, most), class: "reward" }),
    svg("path", { d: path(returns, 0, least, most), class: "mean" }),
    svg("line", { y1: 6, y2: HEIGHT - BOTTOM, class: "cursor" }),
  );
  drawing.addEventListener("pointerdown", (event) => {
    const box = drawing.getBoundingClientRect();
    const place = ((event.clientX - box.left) * WIDTH) / box.width;
    stop();
    go(Math.round(((place - LEFT) / (WIDTH - LEFT - 10)) * about.steps));
  });
  at("plot").replaceChildren(drawing);
  const some = overview.length <= about.steps ? ` These are the first ${short(overview.length - 1)} steps.` : "";
  at("plot-text").textContent = `The return is ${short(returns.at(-1))} after ${short(overview.length - 1)} steps (thick line); rewards are the thin line.${some}`;
}

function moveCursor() {
  const line = document.querySelector("#plot .cursor");
  line?.setAttribute("x1", x(current));
  line?.setAttribute("x2", x(current));
}

async function load() {
  for (let start = 0; start !== null && start <= MAX_STEPS;) {
    const { states, next, ...rest } = await get(start, OVERVIEW, false);
    about = rest;
    overview.push(...states);
    start = next;
  }
  hasValues = about.kept !== "actions" && elements(about.observation_space) <= MAX_ELEMENTS;
  const seed = about.seed === null ? "no seed" : `seed ${about.seed}`;
  const lane = about.lane > 0 ? `, lane ${about.lane}` : "";
  at("about").textContent += ` This one has ${short(about.steps)} steps, ${seed}${lane}${about.is_complete ? "" : ", and was cut short"}.`;
  slider.max = about.steps;
  drawPlot();
  await go(Number(location.hash.slice(1)) || 0);
}

const MOVES = { ArrowLeft: () => current - 1, ArrowRight: () => current + 1, Home: () => 0, End: () => about.steps };
const BUTTONS = { first: "Home", back: "ArrowLeft", on: "ArrowRight", last: "End" };

function move(key) {
  stop();
  go(MOVES[key]());
}

for (const [id, key] of Object.entries(BUTTONS)) at(id).addEventListener("click", () => about && move(key));
at("play").addEventListener("click", () => about && play());
slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
document.addEventListener("keydown", (event) => {
  if (about === null || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, pre")) return;
  if (event.key in MOVES) move(event.key);
  else if (event.key === " " && !event.target.closest("button, a")) play();
  else return;
  event.preventDefault();
});
load().catch(problem);
