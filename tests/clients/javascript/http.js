// A connection to streamwatch over HTTP, through an edge: for pages and devices without AMQP and
// STOMP. Runs in Node and in browsers.
//
//   const link = new HttpLink({ edge: "https://edge.example.com", application: "web" });
//   const playback = new Playback(link, "alice", { metadata: { device: "tv" }, maxActive: 2 });

import { Link } from "./link.js";

const PATIENCE_MS = 10_000;

export class HttpLink extends Link {
  #edge;
  #headers;
  #form;

  /** `token` is a bearer token; `application` the id of an application without a secret. */
  constructor({ edge, application, token }) {
    super();
    this.#edge = edge;
    const authorization = token ? `Bearer ${token}` : `Basic ${btoa(`${application}:`)}`;
    this.#headers = { authorization, "content-type": "application/json" };
    this.#form = token ? { access_token: token } : { application };
    // Each request is a connection of its own, so a link is always up.
    queueMicrotask(() => this.connected());
  }

  async transmit(kind, { account, stream, ...body }, { correlationId }) {
    const response = await this.#fetch(kind, account, stream, body);
    const text = await response.text();
    const json = text ? JSON.parse(text) : {};
    const reply = replyOf(kind, stream, response, json);
    if (reply) this.received(correlationId, JSON.stringify(reply));
  }

  #fetch(kind, account, stream, body) {
    const of = `${this.#edge}/api/v1/accounts/${encodeURIComponent(account)}`;
    const send = (url, request) =>
      fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS), headers: this.#headers, ...request });
    const json = JSON.stringify(body);
    switch (kind) {
      case "init":
        return send(`${of}/streams/${stream}`, { method: "PUT", body: json });
      case "heartbeat":
        return send(`${of}/streams/${stream}/heartbeat`, { method: "POST", body: json });
      case "stop":
        // It outlives a page that is being closed, as `navigator.sendBeacon` does. Without headers of
        // its own, the browser asks for no permission first.
        return fetch(`${of}/streams/${stream}/stop`, {
          method: "POST",
          keepalive: true,
          body: new URLSearchParams(this.#form),
        });
      case "status": {
        const query = new URLSearchParams();
        if (body.consistency) query.set("consistency", body.consistency);
        if (body.group_by) query.set("group_by", body.group_by.join());
        return send(`${of}?${query}`);
      }
      default:
        throw new Error(`an edge has no ${kind}`);
    }
  }
}

/** The body of the contract's reply; none if a heartbeat or a stop gets none. */
function replyOf(kind, stream, { ok, status }, json) {
  const { code, detail: message, field, reason, retry_after_ms } = json;
  if (ok && kind === "init") return { ...json, type: "opened" };
  if (ok && kind === "status") return { type: "activity", activity: json };
  if (ok && json.heartbeat_every_ms) return { ...json, type: "interval", stream };
  if (ok) return undefined;
  // A problem has a `type` of its own.
  if (status === 409) return { ...json, type: "refused", stream };
  if (status === 410 && reason !== "expired") {
    return { type: "stopped", stream, reason, given_reason: json.given_reason };
  }
  if (kind === "heartbeat" || kind === "stop") throw new Error(`${kind}: ${status} ${message}`);
  const retryable = status === 408 || status === 429 || status >= 500;
  return { type: "error", error: { code, message, field, retryable, retry_after_ms } };
}
