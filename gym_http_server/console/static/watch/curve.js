// The learning curve of an instance: the return of each of its latest episodes, and their moving mean.

import { short } from "./values.js";

const [MIN_WIDTH, HEIGHT, LEFT, BOTTOM] = [280, 220, 60, 24];
const WINDOW = 20;

function svg(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

/** Draw the curve of episodes, which have a number and a return, and say in words what it shows. */
export function drawCurve(holder, words, episodes) {
  const points = episodes.filter((episode) => episode.return !== null);
  if (points.length === 0) return;
  const returns = points.map((episode) => episode.return);
  const [first, last] = [points[0].number, points.at(-1).number];
  const [least, most] = [Math.min(...returns), Math.max(...returns)];
  const means = returns.map((_, at) => {
    const latest = returns.slice(Math.max(0, at - WINDOW + 1), at + 1);
    return latest.reduce((sum, each) => sum + each, 0) / latest.length;
  });
  const width = Math.max(MIN_WIDTH, holder.clientWidth);
  const x = (number) => LEFT + (width - LEFT - 10) * (last === first ? 0.5 : (number - first) / (last - first));
  const y = (value) => 10 + (HEIGHT - BOTTOM - 20) * (most === least ? 0.5 : (most - value) / (most - least));
  const path = (values) => values.map((value, at) => `${at ? "L" : "M"}${x(points[at].number).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const label = `Returns of the episodes ${first} to ${last}`;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const value of most === least ? [most] : [most, least]) {
    drawing.append(
      svg("line", { x1: LEFT, x2: width - 10, y1: y(value), y2: y(value), class: "grid" }),
      svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, short(value)),
    );
  }
  drawing.append(
    svg("text", { x: LEFT, y: HEIGHT - 6 }, `episode ${first}`),
    svg("text", { x: width - 10, y: HEIGHT - 6, "text-anchor": "end" }, `episode ${last}`),
    ...points.map((each) => svg("circle", { cx: x(each.number).toFixed(1), cy: y(each.return).toFixed(1), r: 2.5, class: "dot" })),
    svg("path", { d: path(means), class: "mean" }),
  );
  holder.replaceChildren(drawing);
  words.textContent = `${points.length} episodes, the last with a return of ${short(returns.at(-1))}; `
    + `the mean of the last ${Math.min(WINDOW, points.length)} is ${short(means.at(-1))} (line).`;
}
