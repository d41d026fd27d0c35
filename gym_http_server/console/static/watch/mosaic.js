// All instances that render: the frames that are on the screen, and a filter.

import { drawFrame } from "./frames.js";
import { pause, send, shown } from "./requests.js";

const EVERY = 1000;
const FRESH_SECONDS = 0.001;
const live = document.getElementById("live");
const filter = document.querySelector("#filter input");
const onScreen = new Set();
const asked = new Set();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) isIntersecting ? onScreen.add(target) : onScreen.delete(target);
  draw();
});

function select() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const tile of live.children) {
    tile.hidden = !words.every((word) => tile.dataset.words.toLowerCase().includes(word));
    count += !tile.hidden;
  }
  document.getElementById("nothing").hidden = live.children.length > 0;
  document.getElementById("count").textContent = live.children.length === 0 ? "" : `${count} of ${live.children.length} instances`;
}

/** Draw the tiles on the screen whose instance has changed; one that is slow holds no other up. */
function draw() {
  for (const tile of onScreen) {
    const { version, seen, drawn, state, api, instance } = tile.dataset;
    if (asked.has(tile) || version === "" || version === drawn || state === "lost") continue;
    asked.add(tile);
    // A shared frame may be of an earlier step, so the last one is asked for again.
    const isSettled = version === seen;
    drawFrame(tile.querySelector(".picture"), api, `Frame of ${instance}`, isSettled ? FRESH_SECONDS : EVERY / 1000)
      .then(() => Object.assign(tile.dataset, { seen: version, drawn: isSettled ? version : "" }), () => {})
      .finally(() => asked.delete(tile));
  }
}

/** Take over what the server tells of each instance now. */
function update(fresh) {
  const old = new Map([...live.children].map((tile) => [tile.dataset.instance, tile]));
  for (const tile of fresh.children) {
    const known = old.get(tile.dataset.instance);
    if (known === undefined) {
      const made = document.importNode(tile, true);
      live.append(made);
      observer.observe(made);
      continue;
    }
    old.delete(tile.dataset.instance);
    Object.assign(known.dataset, tile.dataset);
    const [before, after] = [known, tile].map((each) => each.querySelector(".caption"));
    if (!before.isEqualNode(after)) before.replaceWith(document.importNode(after, true));
  }
  for (const gone of old.values()) {
    observer.unobserve(gone);
    onScreen.delete(gone);
    gone.remove();
  }
  select();
}

async function refresh() {
  for (;;) {
    await shown();
    let answered = false;
    try {
      const reply = await send(location.pathname, { headers: { Accept: "text/html" } });
      update(new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("live"));
      answered = true;
    } catch {
      // The notice reports it.
    }
    document.getElementById("offline").hidden = answered;
    draw();
    await pause(EVERY);
  }
}

document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("input", select);
for (const tile of live.children) observer.observe(tile);
select();
refresh();
