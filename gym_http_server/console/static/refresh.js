// Updates the numbers and the table of the page. Without JavaScript the page shows the state at its loading.
"use strict";

const EVERY = 2000;
const PATIENCE = 10000;
let timer = 0;

// Changes only nodes that differ, to keep selection, focus and scroll position.
function update(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  const alike = old.nodeName === fresh.nodeName && old.childNodes.length === fresh.childNodes.length;
  if (!alike || old.childNodes.length === 0 || old.className !== fresh.className) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  const pairs = [...old.childNodes].map((child, index) => [child, fresh.childNodes[index]]);
  for (const [child, other] of pairs) update(child, other);
}

async function refresh() {
  let answered = false;
  try {
    const reply = await fetch(location.pathname, {
      headers: { Accept: "text/html" },
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (reply.ok) {
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      update(document.getElementById("live"), page.getElementById("live"));
      answered = true;
    }
  } catch {
    // The notice below reports it.
  }
  document.getElementById("offline").hidden = answered;
  schedule();
}

function schedule() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, EVERY);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) refresh();
});
schedule();
