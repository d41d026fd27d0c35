// How a person chooses actions: keys, buttons and sliders for common action spaces, a form for all others.
//
// Every kind of controls has `element`, to be put on the page; `keys`, the names of the keys that it takes, in lower case;
// `value(pressed)`, the action for the keys that are pressed, undefined where there is nothing to do; and `hasNoop`, whether there
// is an action of doing nothing.
"use strict";

import { formOf, shaped } from "./form.js";

const MAX_BUTTONS = 36;
const MAX_SLIDERS = 16;
const [UP, DOWN, LEFT, RIGHT] = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"];
const PAIRS = [[LEFT, RIGHT], [DOWN, UP], ["a", "d"], ["s", "w"]];
const WORDS = { [UP]: "↑", [DOWN]: "↓", [LEFT]: "←", [RIGHT]: "→", " ": "Space" };

// Environments that tell neither keys nor meanings: what their actions do, and the arrow of each.
const KNOWN = [
  [/^FrozenLake/, ["left", "down", "right", "up"], [LEFT, DOWN, RIGHT, UP]],
  [/^CliffWalking/, ["up", "right", "down", "left"], [UP, RIGHT, DOWN, LEFT]],
  [/^Taxi/, ["south", "north", "east", "west", "pick up", "drop off"], [DOWN, UP, RIGHT, LEFT]],
  [/^LunarLander/, ["nothing", "left engine", "main engine", "right engine"], [null, LEFT, UP, RIGHT], 0],
  [/^CartPole/, ["push left", "push right"], [LEFT, RIGHT]],
  [/^Acrobot/, ["torque −1", "nothing", "torque +1"], [LEFT, null, RIGHT], 1],
  [/^Blackjack/, ["stick", "hit"], [LEFT, RIGHT]],
];
const ARROWS = { 2: [LEFT, RIGHT], 3: [LEFT, DOWN, RIGHT], 4: [LEFT, DOWN, RIGHT, UP] };

export function keyOf(event) {
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

export function wordOf(key) {
  return WORDS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

// Returns the controls of an environment.
//
// Arguments: `space`, its action space; `told`, the reply of getControls; `envId`; `act`, called with the action of a button, and
// whether it was pressed by a pointer.
export function controlsOf(space, told, envId, act) {
  if (space.name === "Discrete" && space.n <= MAX_BUTTONS) return new Buttons(space, told, envId, act);
  if (space.name === "Box" && (space.low?.length ?? 0) > 0 && space.low.length <= MAX_SLIDERS) return new Sliders(space, told);
  return new Form(space, told);
}

function combinations(told) {
  return told.keys.map(({ keys, action }) => ({ keys: keys.map((key) => (key.length === 1 ? key.toLowerCase() : key)), action }));
}

// Returns the combination with the most keys, all of which are pressed; undefined if there is none.
function best(all, pressed) {
  let found;
  for (const each of all) {
    const isHeld = each.keys.length > 0 && each.keys.every((key) => pressed.has(key));
    if (isHeld && each.keys.length > (found?.keys.length ?? 0)) found = each;
  }
  return found;
}

class Buttons {
  constructor(space, told, envId, act) {
    const start = space.start ?? 0;
    const [, words, arrows, idle] = KNOWN.find(([pattern]) => pattern.test(envId)) ?? [null, [], ARROWS[space.n] ?? [], undefined];
    const meanings = told.meanings.length ? told.meanings : words;
    this.combinations = combinations(told);
    if (!this.combinations.length) {
      for (let index = 0; index < space.n; index += 1) {
        if (arrows[index]) this.combinations.push({ keys: [arrows[index]], action: start + index });
        if (index < 10) this.combinations.push({ keys: [String(index)], action: start + index });
      }
    }
    const named = meanings.findIndex((meaning) => /^(noop|nothing)$/i.test(meaning));
    this.noop = this.combinations.find((each) => each.keys.length === 0)?.action ?? (idle !== undefined ? start + idle : undefined) ?? (named >= 0 ? start + named : undefined);
    this.hasNoop = this.noop !== undefined;
    this.keys = new Set(this.combinations.flatMap((each) => each.keys));
    this.held = this.tapped = undefined;
    this.element = document.createElement("div");
    this.element.className = "pad";
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", "Actions");
    for (let action = start; action < start + space.n; action += 1) this.element.append(this.button(action, meanings[action - start], act));
  }

  button(action, meaning, act) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.action = action;
    button.append(meaning === undefined ? `Action ${action}` : meaning);
    const hint = this.combinations.find((each) => each.action === action && each.keys.length);
    if (hint) {
      const keys = document.createElement("kbd");
      keys.textContent = hint.keys.map(wordOf).join(" ");
      button.append(" ", keys);
    }
    // While the clock runs, a button acts for as long as it is pressed.
    button.addEventListener("pointerdown", () => { this.held = this.tapped = action; });
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) button.addEventListener(end, () => { this.held = undefined; });
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("click", (event) => act(action, event.detail > 0));
    return button;
  }

  value(pressed) {
    const tapped = this.held ?? this.tapped;
    this.tapped = undefined;
    return tapped ?? best(this.combinations, pressed)?.action ?? this.noop;
  }

  // Returns the action that pressed keys choose, without that of doing nothing.
  chosen(pressed) {
    return best(this.combinations, pressed)?.action;
  }
}

class Sliders {
  constructor(space, told) {
    this.space = space;
    this.combinations = combinations(told);
    this.hasNoop = true;
    this.keys = new Set(PAIRS.slice(0, space.low.length).flat());
    for (const each of this.combinations) for (const key of each.keys) this.keys.add(key);
    this.element = document.createElement("div");
    this.element.className = "sliders";
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", "Action");
    this.isWhole = /int/.test(space.dtype ?? "");
    this.inputs = space.low.map((low, index) => this.slider(low, space.high[index], index));
  }

  slider(low, high, index) {
    const [least, most] = [Math.abs(low) < 1e9 ? low : -1, Math.abs(high) < 1e9 ? high : 1];
    const label = document.createElement("label");
    const input = document.createElement("input");
    const output = document.createElement("output");
    input.type = "range";
    input.min = least;
    input.max = most;
    input.step = this.isWhole ? 1 : "any";
    input.value = Math.min(most, Math.max(least, 0));
    const words = document.createElement("span");
    words.textContent = `Element ${index}`;
    if (PAIRS[index]) {
      const keys = document.createElement("kbd");
      keys.textContent = PAIRS[index].map(wordOf).join(" ");
      words.append(" ", keys);
    }
    const tell = () => { output.textContent = Number(input.value).toFixed(this.isWhole ? 0 : 2); };
    input.addEventListener("input", tell);
    tell();
    label.append(words, input, output);
    this.element.append(label);
    return input;
  }

  value(pressed) {
    const told = best(this.combinations, pressed);
    if (told) return told.action;
    const flat = this.inputs.map((input, index) => {
      const [lower, higher] = PAIRS[index] ?? [];
      const way = Number(pressed.has(higher)) - Number(pressed.has(lower));
      return Number(way > 0 ? input.max : way < 0 ? input.min : input.value);
    });
    return shaped(flat, this.space.shape);
  }

  chosen(pressed) {
    return [...pressed].some((key) => this.keys.has(key)) ? this.value(pressed) : undefined;
  }
}

class Form {
  constructor(space, told) {
    this.combinations = combinations(told);
    this.hasNoop = false;
    this.keys = new Set(this.combinations.flatMap((each) => each.keys));
    const made = formOf(space, "Action");
    this.element = made.element;
    this.read = made.read;
  }

  value(pressed) {
    return best(this.combinations, pressed)?.action ?? this.read();
  }

  chosen(pressed) {
    return best(this.combinations, pressed)?.action;
  }
}
