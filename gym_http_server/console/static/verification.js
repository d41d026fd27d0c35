// The button that verifies an evaluation, and how far that is.

import { ask, pause, Problem } from "./watch/requests.js";

const EVERY = 500;
const section = document.getElementById("verification");
const verdict = document.getElementById("verdict");
const button = document.getElementById("verify");

function isOver({ state }) {
  return state !== "waiting" && state !== "running";
}

/** Show how far a verification is until it is over; the server writes the verdict into the page. */
async function follow(verification) {
  button.disabled = true;
  while (!isOver(verification)) {
    const { state, done, total } = verification;
    verdict.textContent = `${state === "waiting" ? "Waiting" : "Running"}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")} episodes`;
    await pause(EVERY);
    verification = await ask(section.dataset.url);
  }
  location.reload();
}

async function run(method) {
  try {
    await follow(await ask(section.dataset.url, method));
  } catch (error) {
    verdict.textContent = error instanceof Problem ? error.message : "The server does not respond.";
    button.disabled = false;
  }
}

button?.addEventListener("click", () => run("POST"));
if (!isOver({ state: section.dataset.state || "none" })) run("GET");
