// The panel on which a person plays an instance: takes it over or plays beside its agent, and gives it back.
"use strict";

import { HOLD_SECONDS, Instance, Refusal } from "./api.js";
import { controlsOf, keyOf, wordOf } from "./controls.js";

const LOOK_MILLISECONDS = 2000;
const NAME_KEY = "gym-http-server player";
const DEFAULT_RATE = 15;
const MAX_SAVED = 10;
const at = (id) => document.getElementById(`play-${id}`);
const panel = document.getElementById("play");
if (at("take") !== null) begin();

function begin() {
  const instance = new Instance(panel.dataset.api, (reason) => leave(reason));
  const pressed = new Set();
  // Keys that no tick of the clock has seen yet, and those of them that are up again: a short press counts too.
  const unseen = new Set();
  const taps = new Set();
  let details = null;
  let controls = null;
  let holder = null;
  let score = { reward: null, total: 0, steps: 0, hasEnded: true };
  // Saved states, the newest last: its id and the score that it goes back to.
  let saved = [];
  let timer = 0;
  let isRecording = false;
  // Requests go out one after another: a key that is pressed meanwhile waits, and no more than one does.
  let turn = Promise.resolve();
  let waiting = 0;

  at("name").value = localStorage.getItem(NAME_KEY) ?? "";

  function complain(error) {
    at("problem").hidden = error === null;
    if (error !== null) at("problem").textContent = error.message;
  }

  function say(text) {
    at("said").textContent = text;
  }

  // Runs a task after those before it, and shows its error.
  function queue(task) {
    waiting += 1;
    turn = turn.then(async () => {
      try {
        await task();
        complain(null);
      } catch (error) {
        pause();
        complain(error);
      } finally {
        waiting -= 1;
      }
    });
    return turn;
  }

  // Who plays.

  function told(hold) {
    const who = hold.name ?? "Somebody";
    return hold.mode === "exclusive" ? `${who} plays this instance, and its agent waits.` : `${who} plays side by side with whoever steps it.`;
  }

  function showHolder() {
    const isPlaying = instance.token !== null;
    at("game").hidden = !isPlaying;
    at("entry").hidden = at("help").hidden = isPlaying;
    at("force").hidden = isPlaying || holder === null;
    panel.classList.toggle("playing", isPlaying);
    if (isPlaying) {
      at("holder").textContent = instance.mode === "exclusive" ? "You play, and its agent waits until you give it back." : "You play side by side with whoever steps it.";
    } else {
      const text = holder === null ? "Nobody plays. An agent may step it." : told(holder);
      if (at("holder").textContent !== text) at("holder").textContent = text;
    }
  }

  async function look() {
    clearTimeout(timer);
    if (instance.token === null && !document.hidden) {
      try {
        details = await instance.ask("GET", "");
        holder = details.hold ?? null;
        showHolder();
      } catch (error) {
        // The rest of the page says what became of it.
        if (!(error instanceof Refusal)) complain(error);
      }
    }
    if (instance.token === null) timer = setTimeout(look, LOOK_MILLISECONDS);
  }

  async function take(mode) {
    const name = at("name").value.trim();
    localStorage.setItem(NAME_KEY, name);
    details ??= await instance.ask("GET", "");
    const keys = await instance.ask("GET", "controls/");
    await instance.hold(mode, name);
    controls = controlsOf(details.action_space, keys, details.env_id, (action, byPointer) => {
      // While the clock runs, a button that a pointer presses acts with the next tick.
      if (!isRunning() || !byPointer) acted(action);
    });
    at("actions").replaceChildren(controls.element);
    at("keys").textContent = controls.keys.size ? `Keys: ${[...controls.keys].map(wordOf).join("  ")}` : "";
    at("speed").value = controls.hasNoop && details.metadata.render_fps ? DEFAULT_RATE : 0;
    const { lanes: [live] } = await instance.ask("GET", "live/?max_elements=1");
    const hasBegun = live.observation !== null;
    score = { reward: live.reward, total: live.return ?? 0, steps: live.length ?? 0, hasEnded: !hasBegun || live.terminated || live.truncated };
    saved = [];
    at("undo").disabled = true;
    at("save").disabled = false;
    pause();
    showHolder();
    showScore();
    say("");
    if (hasBegun && score.hasEnded) say("The episode is over. Reset for another one.");
    panel.scrollIntoView({ block: "start" });
    at("stage").focus({ preventScroll: true });
    await monitor();
    if (hasBegun) await draw();
  }

  function leave(reason) {
    pause();
    for (const each of saved) forget(each).catch(() => {});
    saved = [];
    pressed.clear();
    holder = null;
    showHolder();
    if (reason) complain(new Error(reason));
    look();
  }

  // What is played.

  function showScore() {
    at("reward").textContent = score.reward === null ? "–" : short(score.reward);
    at("return").textContent = short(score.total);
    at("steps").textContent = score.steps;
  }

  function short(value) {
    if (value === null || typeof value !== "number") return JSON.stringify(value);
    return Number.isInteger(value) ? String(value) : value.toFixed(3);
  }

  async function draw() {
    const isText = details.render_mode === "ansi";
    if (details.render_mode === null || details.render_mode === "human") {
      at("blank").textContent = "This environment gives no frames: its observations stand in the latest step.";
      return;
    }
    const frame = await instance.frame(isText);
    if (isText) {
      at("text").textContent = frame.replace(/\u001b\[[0-9;]*m/g, "");
    } else {
      const bitmap = await createImageBitmap(frame);
      const canvas = at("frame");
      if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      bitmap.close();
    }
    at(isText ? "text" : "frame").hidden = false;
    at("blank").hidden = true;
  }

  async function reset() {
    const seed = at("seed").value === "" ? {} : { seed: Number(at("seed").value) };
    await instance.ask("POST", "reset/", seed);
    score = { reward: null, total: 0, steps: 0, hasEnded: false };
    showScore();
    say("A new episode.");
    await draw();
  }

  async function step(action) {
    const reply = await instance.ask("POST", "step/", { action });
    const reward = reply.rewards ?? reply.reward;
    score = { reward, total: score.total + (reply.reward ?? 0), steps: score.steps + 1, hasEnded: reply.done };
    showScore();
    if (reply.done) {
      pause();
      say(`The episode ${reply.terminated ? "has ended" : "was cut off"} after ${score.steps} steps with return ${short(score.total)}. Reset for another one.`);
    } else if (reply.reward) {
      say(`Reward ${short(reply.reward)}.`);
    }
    await draw();
  }

  // Takes an action, unless one waits already; after the end of an episode there is nothing to do but to reset.
  function acted(action) {
    if (instance.token === null || action === undefined || waiting > 1) return turn;
    return queue(async () => {
      if (instance.token === null) return;
      if (score.hasEnded) throw new Error("No episode is going on: reset first.");
      await step(action);
    });
  }

  // The clock.

  let clock = 0;

  function isRunning() {
    return at("run").getAttribute("aria-pressed") === "true";
  }

  function pause() {
    clearTimeout(clock);
    at("run").setAttribute("aria-pressed", "false");
    at("run").textContent = "Start";
    at("run").disabled = at("speed").value === "0";
  }

  function run() {
    at("run").setAttribute("aria-pressed", "true");
    at("run").textContent = "Pause";
    at("stage").focus();
    tick();
  }

  async function tick() {
    const began = performance.now();
    if (!isRunning()) return;
    try {
      const action = controls.value(pressed);
      for (const key of taps) pressed.delete(key);
      taps.clear();
      unseen.clear();
      await acted(action);
    } catch (error) {
      // A form that holds no action.
      pause();
      complain(error);
    }
    if (isRunning()) clock = setTimeout(tick, Math.max(0, 1000 / Number(at("speed").value) - (performance.now() - began)));
  }

  // Keys act wherever the focus is, except where somebody types or chooses, and buttons keep Space and Enter.

  function isForThePlay(event) {
    if (instance.token === null || event.ctrlKey || event.metaKey || event.altKey) return false;
    const { target } = event;
    if (target.closest?.("input, select, textarea, [contenteditable]")) return false;
    if (target.closest?.("button, summary, a") && (event.key === " " || event.key === "Enter")) return false;
    return controls.keys.has(keyOf(event));
  }

  document.addEventListener("keydown", (event) => {
    if (!isForThePlay(event)) return;
    event.preventDefault();
    const key = keyOf(event);
    if (!pressed.has(key)) unseen.add(key);
    pressed.add(key);
    if (!isRunning()) acted(controls.chosen(pressed));
  });
  document.addEventListener("keyup", (event) => {
    const key = keyOf(event);
    if (isRunning() && unseen.has(key)) taps.add(key);
    else pressed.delete(key);
  });
  addEventListener("blur", () => pressed.clear());

  // Undo.

  async function save() {
    try {
      const { snapshot_id: id } = await instance.ask("POST", "snapshots/");
      saved.push({ id, score });
      if (saved.length > MAX_SAVED) await forget(saved.shift());
      at("undo").disabled = false;
      showSaved();
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 409 || error.kind !== "not-copyable") throw error;
      at("save").disabled = true;
      at("saved").textContent = error.message;
    }
  }

  async function forget({ id }) {
    await instance.send("DELETE", `snapshots/${id}/`);
  }

  function showSaved() {
    const others = saved.slice(0, -1).map((each) => each.score.steps);
    at("saved").textContent = `Saved after ${saved.at(-1).score.steps} steps${others.length ? `, and before that after ${others.reverse().join(", ")}` : ""}.`;
  }

  // Goes back to the newest saved state; where that is the current one, to the one before it. Beside an agent nobody knows.
  async function undo() {
    const isThere = instance.mode === "exclusive" && saved.at(-1).score === score;
    if (isThere && saved.length > 1) await forget(saved.pop());
    await instance.ask("POST", `snapshots/${saved.at(-1).id}/restore/`);
    ({ score } = saved.at(-1));
    showSaved();
    showScore();
    say(`Back after ${score.steps} steps.`);
    await draw();
  }

  // Recording.

  async function monitor() {
    const state = await instance.ask("GET", "monitor/");
    isRecording = state.enabled;
    at("monitor").setAttribute("aria-pressed", String(isRecording));
    at("monitor").textContent = isRecording ? "Stop recording" : "Record from the next reset";
    at("recorded").textContent = state.directory
      ? `${isRecording ? "Recording" : "Recorded"} ${state.trajectory_episodes ?? state.episodes} episodes in ${state.directory}.`
      : "Keeps every step with its observation, action and reward, as a dataset.";
  }

  async function record() {
    if (isRecording) {
      await instance.ask("POST", "monitor/close/");
    } else {
      const directory = at("directory").value.trim();
      if (!directory) throw new Error("Name the directory of the recording, below the server's results root.");
      await instance.ask("POST", "monitor/start/", { directory, trajectories: true });
    }
    await monitor();
  }

  const clicks = {
    take: () => take("exclusive"),
    beside: () => take("shared"),
    give: async () => {
      await instance.release();
      leave("");
    },
    force: async () => {
      await instance.send("DELETE", "hold/?force=true");
      await look();
    },
    reset,
    save,
    undo,
    monitor: record,
  };
  for (const [name, task] of Object.entries(clicks)) {
    at(name).addEventListener("click", () => {
      if (name !== "take" && name !== "beside") pause();
      queue(task);
    });
  }
  at("step").addEventListener("click", () => {
    pause();
    queue(async () => {
      const action = controls.value(pressed);
      if (action === undefined) throw new Error("Choose an action: this environment has none that does nothing.");
      if (score.hasEnded) throw new Error("No episode is going on: reset first.");
      await step(action);
    });
  });
  at("run").addEventListener("click", () => (isRunning() ? pause() : run()));
  at("speed").addEventListener("change", pause);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) pause();
    else if (instance.token === null) look();
  });
  at("help").append(` It is given back at the latest ${HOLD_SECONDS} seconds after this page is closed.`);
  look();
}
