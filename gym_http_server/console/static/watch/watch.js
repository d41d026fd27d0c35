// The page of an instance: its frame, its latest step, its curve and its requests, as often as the viewer chooses.

import { drawCurve } from "./curve.js";
import { drawFrame } from "./frames.js";
import { ask, pause, Problem, shown } from "./requests.js";
import { rowsOf, short, showRows } from "./values.js";

const MAX_EPISODES = 500;
const MAX_ELEMENTS = 64;
const MAX_LANES = 64;
const DETAILS_EVERY = 2000;
const MONITOR_EVERY = 5;
const SPEED_SECONDS = 3;
const FRESH_SECONDS = 0.001;
const SAME_CALL_MILLISECONDS = 500;

const page = document.getElementById("instance");
const { api, renderMode, recordings } = page.dataset;
const lanes = Number(page.dataset.lanes);
const at = (id) => document.getElementById(id);
const rate = at("rate");
const renders = !["", "human"].includes(renderMode);

let details = null;
let monitor = null;
let meanings = [];
let episodes = [];
let [seen, drawn] = ["", ""];
let over = false;
const samples = [];

// Holders of the frames, and which of them are on the screen.
const tiles = Array.from({ length: Math.min(Math.max(lanes, 1), MAX_LANES) }, (_, lane) => {
  const tile = document.createElement("figure");
  const [frame, caption] = [document.createElement("div"), document.createElement("figcaption")];
  frame.className = "picture";
  tile.append(...(renders ? [frame] : []), ...(lanes ? [caption] : []));
  return { lane, tile, frame, caption };
});
const onScreen = new Set();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) isIntersecting ? onScreen.add(target) : onScreen.delete(target);
  drawn = "";
});
at("frames").append(...tiles.map((each) => each.tile));
for (const each of tiles) observer.observe(each.tile);
if (!renders) {
  at("without-frame").hidden = false;
  at("without-frame").textContent = renderMode === "human" ? "It shows its frames in a window of the server's machine (render mode human)."
    : "It was made without a render mode, so there is no frame to show.";
}
if (lanes > MAX_LANES) {
  at("without-frame").hidden = false;
  at("without-frame").textContent += ` These are the first ${MAX_LANES} of ${lanes} lanes.`;
}

/** Say what went wrong, until it goes well again; return whether the instance is gone. */
function report(error) {
  at("problem").hidden = error === null;
  if (error === null) return;
  if (error instanceof Problem && error.status === 400 && details !== null) location.reload(); // it is closed, which that page tells
  if (error instanceof Problem && error.status === 410) loseIt(error.message);
  at("problem").textContent = error instanceof Problem ? error.message : "The server does not respond. This page shows its last reply.";
}

function loseIt(words) {
  over = true;
  showBadge("lost");
  at("play").hidden = true;
  at("lost").hidden = false;
  at("problem").hidden = true;
  at("last-words").textContent = words;
  if (details?.recording && recordings) {
    at("kept").hidden = false;
    at("kept").href = recordingOf(details.recording);
  }
}

/** Return the address of the page of a recording. */
function recordingOf(directory) {
  return `${recordings}?${new URLSearchParams({ directory })}`;
}

function recordingLink(text) {
  const link = document.createElement("a");
  link.textContent = text;
  link.href = recordingOf(text);
  return link;
}

function speed(steps) {
  const now = performance.now();
  samples.push([now, steps]);
  while (samples.length > 2 && now - samples[0][0] > 1000 * SPEED_SECONDS) samples.shift();
  const [[then, before]] = samples;
  return now > then ? (1000 * (steps - before)) / (now - then) : 0;
}

function showStep(live) {
  const lane = live.lanes[Math.min(Number(at("lane")?.value ?? 0), live.lanes.length - 1)];
  at("reward").textContent = lane.rewards ? JSON.stringify(lane.rewards) : short(lane.reward);
  at("return").textContent = short(lane.return);
  at("length").textContent = lane.observation === null ? "not begun" : `${short(lane.length)}${lane.terminated ? ", terminated" : lane.truncated ? ", truncated" : ""}`;
  if (renders && lanes <= MAX_LANES) {
    at("without-frame").hidden = lane.observation !== null;
    at("without-frame").textContent = "There is no frame before the first reset.";
  }
  at("episodes").textContent = short(live.episodes);
  at("steps").textContent = short(live.steps);
  at("speed").textContent = short(Math.round(speed(live.steps)));
  if (details !== null) {
    showRows(at("action"), rowsOf(lane.action, details.action_space, meanings));
    showRows(at("observation"), rowsOf(lane.observation, details.observation_space));
  }
  if (lanes) for (const each of tiles) {
    const { return: total, length } = live.lanes[each.lane];
    each.caption.textContent = `Lane ${each.lane}: ${short(total)} after ${short(length)} steps`;
  }
  if (live.latest_episodes.length > 0) {
    episodes = [...episodes, ...live.latest_episodes].slice(-MAX_EPISODES);
    drawCurve(at("curve"), at("curve-text"), episodes);
  }
}

async function drawFrames(maxAge) {
  for (const { lane, tile, frame } of tiles) {
    if (onScreen.has(tile)) await drawFrame(frame, api, lanes ? `Frame of lane ${lane}` : "Frame", maxAge, lanes ? lane : undefined);
  }
}

async function watch() {
  while (!over) {
    await shown();
    const began = performance.now();
    const frames = Number(rate.value);
    if (frames > 0) {
      try {
        const maxAge = 1 / frames;
        const after = episodes.at(-1)?.number ?? 0;
        const live = await ask(`${api}live/?max_age=${maxAge}&max_elements=${MAX_ELEMENTS}&after_episode=${after}`);
        showStep(live);
        if (renders && live.version !== drawn && live.lanes[0].observation !== null) {
          // A shared frame may be of an earlier step, so the last one is asked for again.
          const isSettled = live.version === seen;
          await drawFrames(isSettled ? FRESH_SECONDS : maxAge);
          drawn = isSettled ? live.version : "";
          seen = live.version;
        }
        report(null);
      } catch (error) {
        report(error);
        await pause(1000);
      }
    }
    await pause((frames > 0 ? 1000 / frames : 200) - (performance.now() - began));
  }
}

function cell(text, label, kind = "td") {
  const element = document.createElement(kind);
  element.textContent = text;
  element.dataset.label = label;
  element.setAttribute("role", kind === "th" ? "rowheader" : "cell");
  if (["Mean", "Median", "99%"].includes(label)) element.className = "number";
  return element;
}

function milliseconds(seconds) {
  return `${short(Number((1000 * seconds).toPrecision(3)))} ms`;
}

function showTraffic(traffic) {
  at("traffic").replaceChildren(...traffic.map((each) => {
    const row = document.createElement("tr");
    row.setAttribute("role", "row");
    const statuses = Object.entries(each.statuses).map(([status, count]) => `${short(count)} × ${status}`).join(", ");
    row.append(
      cell(each.operation, "Operation", "th"), cell(statuses, "Statuses"), cell(milliseconds(each.mean_seconds), "Mean"),
      cell(milliseconds(each.p50_seconds), "Median"), cell(milliseconds(each.p99_seconds), "99%"),
    );
    return row;
  }));
}

function showAbout() {
  const recorded = monitor === null ? "" : monitor.directory === null ? "not recorded" : [
    `${monitor.enabled ? "recording" : "recorded"} ${short(monitor.episodes)} episodes in `,
    recordings ? recordingLink(monitor.directory) : monitor.directory, monitor.error ? `: ${monitor.error}` : "",
  ];
  const facts = {
    Library: details.library,
    Interpreter: details.interpreter ?? "the server's own",
    Engine: details.engine,
    "Render mode": details.render_mode ?? "none",
    Wrappers: details.wrappers.map((each) => each.name).join(", ") || "none",
    Lease: details.lease === null ? "none" : `${short(details.lease)} s`,
    Made: new Date(details.created_at).toLocaleString("en"),
    Monitor: recorded,
    Labels: Object.entries(details.labels).map(([name, text]) => `${name}: ${text}`).join(", ") || "none",
  };
  at("about").replaceChildren(...Object.entries(facts).map(([name, text]) => {
    const [fact, term, words] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    term.textContent = name;
    words.append(...[text].flat());
    fact.append(term, words);
    return fact;
  }));
}

function showBadge(state) {
  at("state").textContent = state;
  at("state").className = `state ${state}`;
}

/** Show the state: a call may be a viewer's, so busy is what has been stepped, or has had the same call before. */
function showState(before) {
  const isStepped = before !== null && details.steps !== before.steps;
  const isSameCall = Math.abs(Date.parse(details.busy_since) - Date.parse(before?.busy_since)) < SAME_CALL_MILLISECONDS;
  showBadge(details.state !== "busy" ? details.state : isStepped || isSameCall ? "busy" : "ready");
}

async function describe() {
  for (let turn = 0; !over; turn++) {
    await shown();
    try {
      const before = details;
      details = await ask(api);
      showState(before);
      at("title").textContent = details.name ?? details.env_id;
      showTraffic(details.traffic);
      if (details.state === "lost") loseIt(details.loss);
      else if (turn % MONITOR_EVERY === 0) ask(`${api}monitor/`).then((told) => { monitor = told; showAbout(); }, report);
      if (turn === 0 && !lanes && !over) ask(`${api}controls/`).then((told) => { ({ meanings } = told); }, report);
      showAbout();
    } catch (error) {
      report(error);
    }
    await pause(DETAILS_EVERY);
  }
}

at("rename").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    details = await ask(api, "PATCH", { name: at("name").value.trim() || null });
    at("title").textContent = details.name ?? details.env_id;
    report(null);
  } catch (error) {
    report(error);
  }
});
at("close").addEventListener("click", () => at("closing").showModal());
at("closing").addEventListener("close", async () => {
  if (at("closing").returnValue !== "close") return;
  over = true;
  await ask(`${api}close/`, "POST").catch(report);
  location.reload();
});
at("lane")?.addEventListener("input", () => { drawn = ""; });

describe();
watch();
