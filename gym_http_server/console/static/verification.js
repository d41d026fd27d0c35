// The button that verifies an evaluation, and how far that is.

const EVERY = 500;
const PATIENCE = 10000;
const section = document.getElementById("verification");
const verdict = document.getElementById("verdict");
const button = document.getElementById("verify");

/** Send a request; return the verification, or throw with the server's words. */
async function ask(method) {
  const reply = await fetch(section.dataset.url, { method, headers: { Accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE) });
  const value = await reply.json();
  if (!reply.ok) throw new Error(value.detail);
  return value;
}

function isOver({ state }) {
  return state !== "waiting" && state !== "running";
}

/** Show how far a verification is until it is over; the server writes the verdict into the page. */
async function follow(verification) {
  button.disabled = true;
  while (!isOver(verification)) {
    const { state, done, total } = verification;
    verdict.textContent = `${state === "waiting" ? "Waiting" : "Running"}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")} episodes`;
    await new Promise((resolve) => setTimeout(resolve, EVERY));
    verification = await ask("GET");
  }
  location.reload();
}

async function run(method) {
  try {
    await follow(await ask(method));
  } catch (error) {
    verdict.textContent = error instanceof TypeError ? "The server does not respond." : error.message;
    button.disabled = false;
  }
}

button?.addEventListener("click", () => run("POST"));
if (!isOver({ state: section.dataset.state || "none" })) run("GET");
