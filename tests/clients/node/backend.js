// A backend in Node: it asks what accounts play, and opens and ends streams on viewers' behalf.
//
//   const backend = new Backend("amqp://user:password@localhost/%2f", "acme");
//   const { count, by } = await backend.activity("alice", { groupBy: ["device"] });
//   const reply = await backend.open("alice", { maxActive: 2 });
//   const limits = [{ max: 3, distinct: "device" }];
//   await backend.open("alice", { limits, metadata: { device: "tv-1" } });
//   if (reply.type === "refused") …            // reply.activity.streams has the active streams
//   await backend.stop("alice", stream);
//   await backend.stopAll("alice", { reason: "account closed" });
//   await backend.close();
//
// Any number of requests may be pending on one connection. Enforce limits in a backend, because
// viewers cannot change its program: all limits of a request are decided in one step.
//
// From a shell: AMQP_URL=… node backend.js acme alice

import { pathToFileURL } from "node:url";

import { NoAnswer } from "../javascript/link.js";
import { AmqpLink } from "./amqp.js";

export class Backend {
  #link;
  #patienceMs;

  constructor(url, tenant, { namespace, patienceMs = 10_000 } = {}) {
    this.#link = new AmqpLink(url, tenant, { namespace });
    this.#patienceMs = patienceMs;
  }

  /** The account's active streams. With `strong`, all that was confirmed before counts. */
  async activity(account, options) {
    return (await this.status(account, options)).activity;
  }

  /** The same, and with `stream` its `state`: active, stopped, expired, unknown. */
  status(account, { stream, groupBy, strong = false } = {}) {
    const consistency = strong ? "strong" : "local";
    return this.#ask("status", { account, stream, group_by: groupBy, consistency });
  }

  /**
   * Opens a stream, or is refused. After `NoAnswer` repeat it with the same `stream` and
   * `messageId`: a retry never opens a second one.
   */
  open(account, { stream, messageId, metadata, ...terms } = {}) {
    stream ??= crypto.randomUUID();
    messageId ??= crypto.randomUUID();
    const { maxActive, limits, same, onLimit, replace, reason } = terms;
    const fields = { max_active: maxActive, limits, same, on_limit: onLimit, replace, reason };
    return this.#ask("init", { account, stream, metadata, ...fields }, messageId);
  }

  heartbeat(account, stream, { metadata } = {}) {
    return this.#tell("heartbeat", { account, stream, metadata });
  }

  /** Ends a stream; its player learns it, and the reason, with its next heartbeat. */
  stop(account, stream, { reason } = {}) {
    return this.#tell("stop", { account, stream, reason });
  }

  /** Ends all active streams of an account. */
  stopAll(account, { reason } = {}) {
    return this.#tell("stop", { account, all: true, reason });
  }

  /**
   * Publishes up to 1,000 heartbeats and stops of accounts of one partition. Each event is the body
   * of a message of its own, with its `kind`. The partition of an account, and the number of
   * partitions, are in each reply to `open` and `status`.
   */
  batch({ partition, partitions }, events) {
    return this.#tell("batch", { partition, partitions, events });
  }

  /**
   * A page of the tenant's accounts with at least `minActive` streams, in order. `next` is the
   * `after` of the next page.
   */
  async accounts({ minActive = 1, after, limit = 1000 } = {}) {
    const body = { min_active: minActive, after, limit };
    const replies = await this.#askEach("accounts", body);
    // Behind the end of one partition's page, another account may follow.
    const inOrder = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));
    const [next] = replies.flatMap((reply) => reply.next ?? []).sort(inOrder);
    const accounts = replies
      .flatMap((reply) => reply.accounts)
      .filter(({ account }) => next === undefined || inOrder(account, next) <= 0)
      .sort((a, b) => inOrder(a.account, b.account));
    return { accounts, next };
  }

  /** The tenant's `streams` and `accounts`, and the streams `by` the counted metadata keys. */
  async totals({ groupBy } = {}) {
    const sums = { streams: 0, accounts: 0, by: {} };
    for (const reply of await this.#askEach("totals", { group_by: groupBy })) {
      sums.streams += reply.streams;
      sums.accounts += reply.accounts;
      for (const [key, counts] of Object.entries(reply.by ?? {})) {
        const ofKey = (sums.by[key] ??= {});
        for (const [value, count] of Object.entries(counts)) {
          ofKey[value] = (ofKey[value] ?? 0) + count;
        }
      }
    }
    return sums;
  }

  close() {
    return this.#link.close();
  }

  async #askEach(kind, body) {
    await this.#connected();
    return this.#link.requestEach(kind, body, { patienceMs: this.#patienceMs });
  }

  async #ask(kind, body, messageId) {
    await this.#connected();
    const options = { messageId, patienceMs: this.#patienceMs };
    return this.#link.request(kind, body, options);
  }

  async #tell(kind, body) {
    await this.#connected();
    return this.#link.publish(kind, body, { patienceMs: this.#patienceMs });
  }

  /** The broker may be restarting: wait for it, but no longer than for an answer. */
  async #connected() {
    if (this.#link.up) return;
    const signal = AbortSignal.timeout(this.#patienceMs);
    await new Promise((resolve, reject) => {
      this.#link.addEventListener("up", resolve, { once: true, signal });
      signal.addEventListener("abort", () => reject(new NoAnswer("not connected")), { once: true });
    });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [tenant, account] = process.argv.slice(2);
  const namespace = process.env.STREAMWATCH_NAMESPACE;
  const backend = new Backend(process.env.AMQP_URL, tenant, { namespace });
  try {
    console.log(JSON.stringify(await backend.activity(account), null, 2));
  } finally {
    await backend.close();
  }
}
