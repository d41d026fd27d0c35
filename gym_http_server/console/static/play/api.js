// The operations of one instance, as this page calls them: with the token of its hold, and with errors as the contract has them.
"use strict";

export const HOLD_SECONDS = 30;
const RENEW_MILLISECONDS = 8000;

// A refusal of the server.
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.message ?? problem.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.kind = String(problem.type ?? "").split(":").pop();
    this.problem = problem;
  }
}

export class Instance {
  // `onEnd` is called with the reason when the hold of this page has ended.
  constructor(base, onEnd) {
    this.base = base;
    this.token = null;
    this.mode = null;
    this.onEnd = onEnd;
    addEventListener("pagehide", () => this.leave());
  }

  async send(method, path, body, headers = {}) {
    if (this.token !== null) headers["Instance-Hold"] = this.token;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let reply;
    try {
      reply = await fetch(this.base + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    } catch (error) {
      throw new Error(`The server does not answer (${error.message}).`);
    }
    if (reply.ok) return reply;
    let problem = {};
    try {
      problem = await reply.json();
    } catch {
      // A proxy's page.
    }
    const refusal = new Refusal(reply.status, problem);
    if (refusal.kind === "hold-ended") this.forget(refusal.message);
    throw refusal;
  }

  async ask(method, path, body) {
    return (await this.send(method, path, body)).json();
  }

  // Returns the current frame: a blob of a picture, or a text.
  async frame(isText) {
    const reply = await this.send("GET", "render/", undefined, { Accept: isText ? "text/plain" : "image/png" });
    return isText ? reply.text() : reply.blob();
  }

  async hold(mode, name) {
    const hold = await this.ask("POST", "hold/", { mode, seconds: HOLD_SECONDS, ...(name ? { name } : {}) });
    this.token = hold.token;
    this.mode = hold.mode;
    clearInterval(this.renewal);
    this.renewal = setInterval(() => this.renew(), RENEW_MILLISECONDS);
  }

  async renew() {
    try {
      await this.ask("POST", "hold/", {});
    } catch (error) {
      // A server that does not answer once may do so the next time: the hold lasts for several renewals.
      if (error instanceof Refusal && error.status !== 503) this.forget(error.message);
    }
  }

  async release() {
    const held = this.token;
    this.drop();
    if (held !== null) await this.send("DELETE", "hold/", undefined, { "Instance-Hold": held });
  }

  // Gives the instance back when the page goes away: the request outlives it.
  leave() {
    if (this.token === null) return;
    fetch(`${this.base}hold/`, { method: "DELETE", headers: { "Instance-Hold": this.token }, keepalive: true }).catch(() => {});
    this.forget("This page was left, and the instance was given back.");
  }

  drop() {
    clearInterval(this.renewal);
    this.token = this.mode = null;
  }

  forget(reason) {
    if (this.token === null) return;
    this.drop();
    this.onEnd(reason);
  }
}
