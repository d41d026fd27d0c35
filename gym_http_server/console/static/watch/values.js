// Values of spaces as rows: a name, a bar between the bounds, a number.

const UNBOUNDED = 1e38;

/** Return a number in few characters. */
export function short(number) {
  if (typeof number !== "number") return number === null ? "–" : String(number);
  if (Number.isInteger(number)) return number.toLocaleString("en");
  return Math.abs(number) >= 1e6 || Math.abs(number) < 1e-4 ? number.toExponential(2) : String(Number(number.toPrecision(4)));
}

/** Return the position of an element in an array of that shape, as `row,column`. */
function position(index, shape) {
  const places = [];
  for (const size of [...shape].reverse()) {
    places.unshift(index % size);
    index = Math.floor(index / size);
  }
  return places.join(",");
}

function summary(value) {
  const shape = `${value.summary_of} of ${value.shape.join(" × ")}`;
  return value.dtype === undefined || value.min === undefined ? shape
    : `${shape} ${value.dtype}: ${short(value.min)} to ${short(value.max)}, mean ${short(value.mean)}`;
}

/** Return the rows of a value of a space: `name` and `text`, or `number` with `low` and `high`. */
export function rowsOf(value, space, meanings = [], name = "") {
  const below = (key) => name === "" ? String(key) : `${name}/${key}`;
  if (value === null || value === undefined) return [{ name, text: "none" }];
  if (value.summary_of) return [{ name, text: summary(value) }];
  if (space?.name === "Discrete") {
    const meaning = meanings[value - space.start];
    return [{ name, number: value, low: space.start, high: space.start + space.n - 1, meaning }];
  }
  if (space?.name === "Tuple") return value.flatMap((part, at) => rowsOf(part, space.spaces[at], meanings, below(at)));
  if (Array.isArray(value)) {
    const shape = space?.shape ?? [];
    const low = (at) => space?.low?.[at] ?? space?.start?.[at] ?? (space?.name === "MultiBinary" ? 0 : undefined);
    const high = (at) => space?.high?.[at] ?? (space?.nvec ? space.nvec.flat(Infinity)[at] - 1 + (low(at) ?? 0) : space?.name === "MultiBinary" ? 1 : undefined);
    return value.flat(Infinity).map((number, at) => typeof number === "object" && number !== null
      ? { name: below(at), text: JSON.stringify(number) }
      : { name: below(shape.length > 1 ? position(at, shape) : at), number, low: low(at), high: high(at) });
  }
  if (typeof value === "object") {
    return Object.entries(value).flatMap(([key, part]) => rowsOf(part, space?.spaces?.[key], meanings, below(key)));
  }
  return [typeof value === "number" ? { name, number: value, low: space?.low?.[0], high: space?.high?.[0] } : { name, text: String(value) }];
}

function isBounded(row) {
  return row.number !== undefined && row.low > -UNBOUNDED && row.high < UNBOUNDED;
}

function rowElement(row) {
  const element = document.createElement("div");
  const [name, number] = [document.createElement("span"), document.createElement("span")];
  name.textContent = row.name;
  element.append(name);
  if (isBounded(row)) {
    const bar = document.createElement("meter");
    bar.min = row.low;
    bar.max = row.high;
    bar.setAttribute("aria-label", row.name || "value");
    bar.title = `${short(row.low)} to ${short(row.high)}`;
    element.append(bar);
  }
  element.append(number);
  return element;
}

/** Show rows in an element, whose own are kept where they are of the same form. */
export function showRows(holder, rows) {
  const form = JSON.stringify(rows.map((row) => [row.name, isBounded(row), row.low, row.high]));
  if (holder.dataset.form !== form) {
    holder.replaceChildren(...rows.map(rowElement));
    holder.dataset.form = form;
  }
  rows.forEach((row, at) => {
    const element = holder.children[at];
    const bar = element.querySelector("meter");
    if (bar) bar.value = row.number ?? row.low;
    element.lastElementChild.textContent = row.text ?? `${short(row.number)}${row.meaning ? ` ${row.meaning}` : ""}`;
  });
}
