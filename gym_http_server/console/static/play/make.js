// The form that makes an instance: says what the registry knows of the id, sends createEnv, and shows its error at the field.
"use strict";

const form = document.getElementById("make");
const problem = document.getElementById("problem");
const registered = document.getElementById("registered");
const wrappers = document.getElementById("wrappers");
const NUMBERS = ["seed", "max_episode_steps", "num_envs"];
const TEXTS = ["env_id", "library", "interpreter", "render_mode", "name"];
const FIELDS = [...TEXTS, ...NUMBERS, "kwargs", "wrappers", "labels"];

// Kinds of problems that are about one field, whatever their text names.
const FIELD_OF_PROBLEM = { "unknown-environment": "env_id", "missing-dependency": "env_id", "interpreter-choice": "interpreter" };

class FieldError extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

function parsed(field, text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FieldError(field, `This is not JSON (${error.message}); names and texts stand in double quotes.`);
  }
}

function addWrapper(name, kwargs = "") {
  const item = document.createElement("li");
  const words = document.createElement("code");
  words.textContent = name;
  const input = document.createElement("input");
  input.setAttribute("aria-label", `Arguments of ${name}, as JSON`);
  input.placeholder = "arguments as JSON";
  input.value = kwargs;
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "plain";
  remove.textContent = "Remove";
  remove.setAttribute("aria-label", `Remove ${name}`);
  remove.addEventListener("click", () => {
    item.remove();
    document.getElementById("wrapper").focus();
  });
  item.append(words, input, remove);
  wrappers.append(item);
}

function labels(text) {
  const found = {};
  for (const part of text.split(/[,\n]/).map((each) => each.trim()).filter(Boolean)) {
    const at = part.indexOf("=");
    if (at < 1) throw new FieldError("labels", `“${part}” is no label: write a name, = and a text, such as owner=ada.`);
    found[part.slice(0, at).trim()] = part.slice(at + 1).trim();
  }
  return found;
}

function body() {
  const made = {};
  for (const name of TEXTS) {
    const text = form.elements[name]?.value.trim();
    if (text) made[name] = text;
  }
  if (!made.env_id) throw new FieldError("env_id", "Which environment? Give its id, such as CartPole-v1.");
  for (const name of NUMBERS) {
    const input = form.elements[name];
    if (input.validity.badInput || !Number.isInteger(Number(input.value))) throw new FieldError(name, "Give a whole number, or nothing.");
    if (input.value !== "") made[name] = Number(input.value);
  }
  const kwargs = form.elements.kwargs.value.trim();
  if (kwargs) {
    made.kwargs = parsed("kwargs", kwargs);
    if (made.kwargs === null || typeof made.kwargs !== "object" || Array.isArray(made.kwargs)) throw new FieldError("kwargs", 'Give an object, such as {"is_slippery": false}.');
  }
  if (wrappers.children.length) {
    made.wrappers = [...wrappers.children].map((item) => {
      const text = item.querySelector("input").value.trim();
      return { name: item.querySelector("code").textContent, kwargs: text ? parsed("wrappers", text) : {} };
    });
  }
  const named = labels(form.elements.labels.value);
  if (Object.keys(named).length) made.labels = named;
  return made;
}

function show(field, message) {
  problem.textContent = message;
  problem.hidden = false;
  const input = document.getElementById(field === "wrappers" ? "wrapper" : field);
  if (input === null) return;
  input.setAttribute("aria-invalid", "true");
  document.getElementById(`${field}-wrong`).textContent = message;
  input.focus();
}

function clear() {
  problem.hidden = true;
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const words of form.querySelectorAll(".wrong")) words.textContent = "";
}

function fieldOf(told) {
  if (FIELDS.includes(told.parameter)) return told.parameter;
  const kind = String(told.type).split(":").pop();
  if (kind in FIELD_OF_PROBLEM) return FIELD_OF_PROBLEM[kind];
  const words = String(told.detail).match(/[a-z_]+/g) ?? [];
  return words.find((word) => FIELDS.includes(word)) ?? (kind === "environment-creation" ? "kwargs" : null);
}

async function make(event) {
  event.preventDefault();
  clear();
  const button = document.getElementById("make-it");
  try {
    const content = JSON.stringify(body());
    button.disabled = true;
    button.textContent = "Making it…";
    const reply = await fetch(`${form.dataset.api}envs/`, { method: "POST", headers: { "Content-Type": "application/json" }, body: content });
    const told = await reply.json();
    if (reply.ok) {
      location.assign(form.dataset.done.replace("INSTANCE", encodeURIComponent(told.instance_id)));
      return;
    }
    show(fieldOf(told), `${told.title}: ${told.message}`);
  } catch (error) {
    show(error.field ?? null, error instanceof FieldError ? error.message : `The server does not answer: ${error.message}`);
  }
  button.disabled = false;
  button.textContent = "Make it";
}

async function look() {
  const id = form.elements.env_id.value.trim();
  registered.textContent = "";
  if (!id) return;
  try {
    const reply = await fetch(`${form.dataset.api}registry/?page_size=1000&q=${encodeURIComponent(id.slice(0, 256))}`);
    if (!reply.ok) return;
    const found = (await reply.json()).environments.find((each) => each.env_id === id);
    if (form.elements.env_id.value.trim() !== id) return;
    registered.textContent = found ? described(found) : "No library registers this id; module:Id imports the module first.";
    if (found?.max_episode_steps) form.elements.max_episode_steps.placeholder = found.max_episode_steps;
  } catch {
    // It is a help only.
  }
}

function described(found) {
  const parts = [`Of ${found.library}`];
  if (found.interpreter) parts.push(`in ${found.interpreter}`);
  if (!found.installed) parts.push(found.missing_package ? `needs ${found.missing_package}, which is not installed` : `cannot be made: ${found.reason}`);
  if (found.max_episode_steps) parts.push(`at most ${found.max_episode_steps} steps`);
  if (found.reward_threshold !== null) parts.push(`solved at ${found.reward_threshold}`);
  if (found.render_modes) parts.push(`renders ${found.render_modes.join(", ")}`);
  const kwargs = JSON.stringify(found.kwargs ?? {});
  form.elements.kwargs.placeholder = kwargs === "{}" ? "" : kwargs;
  if (kwargs !== "{}") parts.push(`registered with the arguments ${kwargs}`);
  return `${parts.join("; ")}.`;
}

try {
  const asked = form.dataset.wrappers ? parsed("wrappers", form.dataset.wrappers) : [];
  for (const each of Array.isArray(asked) ? asked : []) addWrapper(String(each?.name), each?.kwargs ? JSON.stringify(each.kwargs) : "");
} catch (error) {
  show("wrappers", error.message);
}
document.getElementById("add-wrapper").addEventListener("click", () => {
  addWrapper(document.getElementById("wrapper").value);
  wrappers.lastElementChild.querySelector("input").focus();
});
form.addEventListener("submit", make);
form.elements.env_id.addEventListener("change", look);
look();
