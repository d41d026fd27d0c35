// A form for a value of any space: its elements by kind, those of Dict and Tuple one inside another, and JSON for the rest.
"use strict";

const MAX_FIELDS = 64;
const MAX_CHOICES = 50;

// Returns `element`, and `read`, which returns the value or raises an Error that says what is wrong.
export function formOf(space, label) {
  const count = space.low?.length ?? space.nvec?.length ?? space.n ?? 0;
  switch (space.name) {
    case "Discrete":
      return whole(label, space.start ?? 0, (space.start ?? 0) + space.n - 1);
    case "MultiDiscrete":
      return count <= MAX_FIELDS ? many(space, label, space.nvec.map((n, index) => [space.start?.[index] ?? 0, n])) : json(label);
    case "MultiBinary":
      return bits(space) <= MAX_FIELDS ? checks(space, label) : json(label);
    case "Box":
      return count <= MAX_FIELDS ? numbers(space, label) : json(label);
    case "Text":
      return text(space, label);
    case "Tuple":
      return group(label, space.spaces.map((inner, index) => [index, formOf(inner, `${index}`)]), (parts) => parts.map(([, value]) => value));
    case "Dict":
      return group(label, (space.keys ?? Object.keys(space.spaces)).map((key) => [key, formOf(space.spaces[key], key)]), Object.fromEntries);
    default:
      return json(label);
  }
}

// Returns a flat list in C order as nested lists.
export function shaped(flat, shape) {
  if (!shape || shape.length === 0) return flat[0];
  if (shape.length === 1) return flat;
  const size = flat.length / shape[0];
  return Array.from({ length: shape[0] }, (_, index) => shaped(flat.slice(index * size, (index + 1) * size), shape.slice(1)));
}

function field(label, input) {
  const element = document.createElement("label");
  element.className = "part";
  const words = document.createElement("span");
  words.textContent = label;
  element.append(words, input);
  return element;
}

function number(label, low, high, step) {
  const input = document.createElement("input");
  input.type = "number";
  if (Math.abs(low) < 1e9) input.min = low;
  if (Math.abs(high) < 1e9) input.max = high;
  input.step = step;
  input.value = Math.min(high, Math.max(low, 0));
  const read = () => {
    if (input.value === "" || !input.validity.valid) {
      throw new Error(`${label} is to be a${step === 1 ? " whole" : ""} number from ${low} to ${high}.`);
    }
    return Number(input.value);
  };
  return { element: field(label, input), read };
}

function whole(label, low, high) {
  if (high - low >= MAX_CHOICES) return number(label, low, high, 1);
  const select = document.createElement("select");
  for (let value = low; value <= high; value += 1) select.append(new Option(value, value));
  return { element: field(label, select), read: () => Number(select.value) };
}

function group(label, parts, join) {
  const element = document.createElement("fieldset");
  const legend = document.createElement("legend");
  legend.textContent = label;
  element.append(legend, ...parts.map(([, part]) => part.element));
  return { element, read: () => join(parts.map(([key, part]) => [key, part.read()])) };
}

function many(space, label, ranges) {
  const parts = ranges.map(([low, n], index) => [index, whole(`${index}`, low, low + n - 1)]);
  return group(label, parts, (values) => shaped(values.map(([, value]) => value), space.shape));
}

function bits(space) {
  return (space.shape ?? [space.n]).reduce((product, size) => product * size, 1);
}

function checks(space, label) {
  const parts = Array.from({ length: bits(space) }, (_, index) => {
    const input = document.createElement("input");
    input.type = "checkbox";
    return [index, { element: field(`${index}`, input), read: () => Number(input.checked) }];
  });
  return group(label, parts, (values) => shaped(values.map(([, value]) => value), space.shape ?? [space.n]));
}

function numbers(space, label) {
  const step = /int/.test(space.dtype ?? "") ? 1 : "any";
  const parts = space.low.map((low, index) => [index, number(`${index}`, low, space.high[index], step)]);
  return group(label, parts, (values) => shaped(values.map(([, value]) => value), space.shape));
}

function text(space, label) {
  const input = document.createElement("input");
  input.maxLength = space.max_length ?? 4096;
  input.value = (space.characters?.[0] ?? "a").repeat(space.min_length ?? 0);
  return { element: field(label, input), read: () => input.value };
}

function json(label) {
  const input = document.createElement("textarea");
  input.rows = 4;
  input.spellcheck = false;
  const read = () => {
    try {
      return JSON.parse(input.value);
    } catch (error) {
      throw new Error(`${label} is to be JSON: ${error.message}`);
    }
  };
  return { element: field(`${label}, as JSON`, input), read };
}
