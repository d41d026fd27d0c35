// Texts of terminals: colours by ANSI escapes.

const STYLE = /\x1b\[([\d;]*)m/;
const OTHER = /\x1b\[[\d;?]*[ -\/]*[@-ln-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[^\[\]]|[\x00-\x08\x0b-\x1a]/g;

// Colours mark the agent's position: they become classes, and the style sheet has the usual ones.
export function show(pre, text) {
  pre.replaceChildren();
  let codes = new Set();
  for (const [index, part] of text.replace(OTHER, "").split(STYLE).entries()) {
    if (index % 2 === 0) {
      const span = document.createElement("span");
      span.className = [...codes].map((code) => `sgr${code}`).join(" ");
      span.textContent = part;
      pre.append(span);
      continue;
    }
    for (const code of part.split(";").map(Number)) code === 0 ? codes = new Set() : codes.add(code);
  }
}
