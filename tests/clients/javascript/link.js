// A connection to streamwatch, independent of its protocol.
//
// `node/amqp.js` and `browser/stomp.js` implement it. An implementation sends messages (`transmit`),
// passes replies on (`received`), and reports when it is connected and disconnected:
//
//   link.addEventListener("up", …)     connected, or connected again
//   link.addEventListener("down", …)   it reconnects by itself
//   link.addEventListener("news", …)   a reply without a pending request: event.detail is its body

/** No reply, or no connection: the outcome is unknown. Retry with the same ids. */
export class NoAnswer extends Error {}

/** A worker replied with `error`: `code`, `field`, `retryable`, `retryAfterMs`. */
export class Rejected extends Error {
  constructor({ code, message, field, retryable = false, retry_after_ms: retryAfterMs }) {
    super(`${code}: ${message}`);
    Object.assign(this, { code, field, retryable, retryAfterMs });
  }
}

// Beyond so many unanswered requests more of them only make it worse.
const MOST_WAITING = 10_000;

export class Link extends EventTarget {
  /** Whether there is a connection right now. */
  up = false;
  // Pending requests by correlation id.
  #waiting = new Map();

  /** Publishes a request and waits for its reply. A retry of an `init` repeats `messageId`. */
  async request(kind, body, { patienceMs = 10_000, messageId } = {}) {
    if (this.#waiting.size >= MOST_WAITING) throw new NoAnswer("too many requests wait already");
    // Of its own for each try: a late reply to an earlier one is not taken for this one's.
    const correlationId = crypto.randomUUID();
    const reply = new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new NoAnswer(`no answer to ${kind} within ${patienceMs} ms`)),
        patienceMs,
      );
      this.#waiting.set(correlationId, { resolve, reject, timer });
    });
    return this.#answered(reply, kind, body, { correlationId, messageId, patienceMs });
  }

  /** Publishes a request that each partition answers, and waits for the replies of all. */
  async requestEach(kind, body, { patienceMs = 10_000 } = {}) {
    if (this.#waiting.size >= MOST_WAITING) throw new NoAnswer("too many requests wait already");
    const correlationId = crypto.randomUUID();
    const replies = new Map();
    const all = new Promise((resolve, reject) => {
      const late = () =>
        reject(new NoAnswer(`${replies.size} partitions answered ${kind} within ${patienceMs} ms`));
      const timer = setTimeout(late, patienceMs);
      const each = (reply) => {
        replies.set(reply.partition, reply);
        if (replies.size >= reply.partitions) resolve([...replies.values()]);
      };
      this.#waiting.set(correlationId, { resolve: each, reject, timer });
    });
    return this.#answered(all, kind, body, { correlationId, patienceMs });
  }

  /** Publishes a request whose reply is awaited. */
  async #answered(reply, kind, body, { correlationId, messageId, patienceMs }) {
    try {
      // The reply may overtake the confirm; without either the patience runs out.
      const sent = this.publish(kind, body, { correlationId, messageId, patienceMs });
      return await Promise.race([reply, sent.then(() => reply)]);
    } finally {
      reply.catch(() => {}); // after a failed send, the reply is not awaited
      clearTimeout(this.#waiting.get(correlationId)?.timer);
      this.#waiting.delete(correlationId);
    }
  }

  /**
   * Publishes a message; resolves once the broker has it safe.
   * The message is handed over before this returns: a page that is being closed cannot wait.
   */
  publish(kind, body, { patienceMs = 10_000, ...properties } = {}) {
    if (!this.up) return Promise.reject(new NoAnswer("not connected"));
    let timer;
    const tooLate = new Promise((_, reject) => {
      const late = () => reject(new NoAnswer(`${kind} was not confirmed within ${patienceMs} ms`));
      timer = setTimeout(late, patienceMs);
    });
    const confirmed = this.transmit(kind, body, properties).catch((error) => {
      throw new NoAnswer(error.message, { cause: error });
    });
    return Promise.race([confirmed, tooLate]).finally(() => clearTimeout(timer));
  }

  // For the protocols

  /** Handles a received reply. Ignores messages that are not a worker's. */
  received(correlationId, text) {
    let body;
    try {
      body = JSON.parse(text);
    } catch {
      return;
    }
    if (typeof body?.type !== "string") return;
    const waiting = this.#waiting.get(correlationId);
    if (!waiting) {
      this.dispatchEvent(new CustomEvent("news", { detail: body }));
    } else if (body.type === "error") {
      waiting.reject(new Rejected(body.error));
    } else {
      waiting.resolve(body);
    }
  }

  connected() {
    this.up = true;
    this.dispatchEvent(new Event("up"));
  }

  disconnected(why = "the connection is lost") {
    if (!this.up) return;
    this.up = false;
    // Replies were addressed to the connection that is gone.
    for (const { reject } of this.#waiting.values()) reject(new NoAnswer(why));
    this.dispatchEvent(new CustomEvent("down", { detail: why }));
  }
}
