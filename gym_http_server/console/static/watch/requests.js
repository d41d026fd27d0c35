// Requests of the contract's operations, as every page sends them.

/** An error that the server answered with: its status and the detail of its problem. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Send a request; return the reply, or throw a `Problem`. */
export async function send(url, options = {}) {
  const reply = await fetch(url, { signal: AbortSignal.timeout(20000), ...options });
  if (reply.ok) return reply;
  const problem = await reply.json().catch(() => ({}));
  throw new Problem(reply.status, problem.detail ?? `status ${reply.status}`);
}

/** Send a request with a JSON body, if there is one; return the JSON of the reply. */
export async function ask(url, method = "GET", body = undefined) {
  const headers = body === undefined ? { Accept: "application/json" } : { Accept: "application/json", "Content-Type": "application/json" };
  const reply = await send(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  return reply.json();
}

/** Wait. */
export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds)));
}

/** Wait until the tab is shown: a hidden one asks for nothing. */
export function shown() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}
