// One playback of a good player: it opens a stream, keeps it counted, and ends it. It never keeps
// anybody from watching. Runs in Node and in browsers.
//
//   const playback = new Playback(link, "alice", { metadata: { device: "tv" }, maxActive: 2 });
//   playback.addEventListener("change", () => show(playback.state));
//   const { type } = await playback.open();    // at most 2 s
//   if (type === "refused") …                  // playback.state.activity has the active streams
//   …                                          // play; heartbeats go out by themselves
//   await playback.stop();
//
// `state.type` is one of
//   asking       the request is under way
//   unanswered   no reply: play. Heartbeats take effect, and the request is repeated
//   opened       it counts; `activity` as of then
//   refused      a limit: `reason`, `activity`; `conflicts` has the streams in the way
//   stopped      another client or its age ended it: `reason` is `stopped`, `replaced` or `too_old`,
//                `givenReason` is the text of that client, if there is one
//   over         ended by `stop`

import { Rejected } from "./link.js";

// How long a viewer waits for the monitor.
const PATIENCE_MS = 2_000;
// Until the first reply.
const HEARTBEAT_EVERY_MS = 30_000;
const TTL_MS = 90_000;
// How long a stop is tried: silence ends the stream as well, only later.
const STOP_FOR_MS = 30_000;
const TICK_MS = 250;

/** Calls back every so often; returns how to end that. */
function byInterval(tick) {
  const timer = setInterval(tick, TICK_MS);
  return () => clearInterval(timer);
}

export class Playback extends EventTarget {
  // Made before the first try, and the same in every retry: so none of them counts twice.
  stream = crypto.randomUUID();
  #messageId = crypto.randomUUID();

  state = { type: "asking" };
  #link;
  #account;
  #metadata;
  #limits;
  #ticks;
  #endTicks = () => {};
  #ended = new AbortController();
  #heartbeatEveryMs = HEARTBEAT_EVERY_MS;
  #ttlMs = TTL_MS;
  // The interval that a worker has sent, if one has.
  #sentEveryMs;
  #lastSignOfLife = 0;
  #beating = false;
  #stopping;
  #asking = false;

  /** `ticks` is another timer than `setInterval`: see `browser/ticks.js`. */
  constructor(link, account, { metadata, ticks = byInterval, ...terms } = {}) {
    super();
    const { maxActive, limits, same, onLimit, replace } = terms;
    this.#link = link;
    this.#account = account;
    this.#metadata = metadata;
    this.#limits = { max_active: maxActive, limits, same, on_limit: onLimit, replace };
    this.#ticks = ticks;
  }

  /** Whether it goes on: asked for, and neither refused nor ended. */
  get plays() {
    return ["asking", "unanswered", "opened"].includes(this.state.type);
  }

  /** Asks to open the stream. Resolves with the state once that is decided, or after 2 s. */
  async open() {
    const until = { signal: this.#ended.signal };
    this.#link.addEventListener("news", ({ detail }) => this.#told(detail), until);
    this.#link.addEventListener("up", () => this.#connectedAgain(), until);
    this.#endTicks = this.#ticks(() => this.#tick());
    await Promise.race([this.#ask(), sleep(PATIENCE_MS, this.#ended.signal)]);
    if (this.state.type === "asking") {
      this.#become({ type: "unanswered" });
      this.beat();
    }
    return this.state;
  }

  /** Ends it. Resolves once the broker has the stop, or after 30 s. */
  async stop() {
    if (this.plays) {
      this.#end({ type: "over" });
      this.#stopping = this.#sendStop();
    }
    await this.#stopping;
  }

  async #sendStop() {
    const until = Date.now() + STOP_FOR_MS;
    for (let attempt = 0; Date.now() < until; attempt++) {
      try {
        return await this.#publish("stop");
      } catch {
        await sleep(backOff(attempt));
      }
    }
  }

  /** A sign of life now: call it when the device has woken up. */
  beat() {
    if (!this.plays || this.state.type === "asking" || !this.#link.up) return;
    if (this.state.type === "opened" && this.#silentMs() >= this.#ttlMs) {
      // It has expired, and another stream may have its place: a new request for the same stream.
      this.#lastSignOfLife = Date.now();
      this.#messageId = crypto.randomUUID();
      this.#ask();
    } else {
      this.#heartbeat();
    }
  }

  async #heartbeat() {
    // One at a time: where the broker does not confirm, more of them do not help.
    if (this.#beating) return;
    this.#beating = true;
    try {
      await this.#publish("heartbeat", {
        heartbeat_every_ms: this.#sentEveryMs,
        metadata: this.#metadata,
      });
      this.#lastSignOfLife = Date.now();
    } catch {
      // The next tick tries again.
    } finally {
      this.#beating = false;
    }
  }

  // Timers are late on a sleeping device and in a throttled background tab. So a tick compares the
  // time of day, which goes on meanwhile; if that clock is set, one heartbeat is early.
  #tick() {
    if (this.#silentMs() >= this.#heartbeatEveryMs) this.beat();
  }

  #silentMs() {
    return Math.abs(Date.now() - this.#lastSignOfLife);
  }

  // All players reconnect after an outage of the broker: spread their heartbeats over an interval.
  #connectedAgain() {
    const wait = Math.random() * this.#heartbeatEveryMs;
    const due = Date.now() - this.#heartbeatEveryMs + wait;
    if (this.#silentMs() < this.#ttlMs) this.#lastSignOfLife = due;
  }

  /** Repeats the request until it is answered. */
  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    const { signal } = this.#ended;
    const body = { metadata: this.#metadata, ...this.#limits };
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const reply = await this.#link.request("init", this.#about(body), {
          messageId: this.#messageId,
          patienceMs: PATIENCE_MS,
        });
        this.#decided(reply);
        break;
      } catch (error) {
        // A retry would fail too. The viewer watches all the same.
        if (error instanceof Rejected && !error.retryable) {
          this.dispatchEvent(new CustomEvent("rejected", { detail: error }));
          break;
        }
        await sleep(Math.max(backOff(attempt), error.retryAfterMs ?? 0), signal);
      }
    }
    this.#asking = false;
  }

  #decided(reply) {
    if (!this.plays) return;
    if (reply.type === "refused") {
      // Where heartbeats went before the answer, the stream counts by them.
      if (this.state.type !== "asking") this.#stopping = this.#sendStop();
      const { reason, conflicts, activity } = reply;
      this.#end({ type: "refused", reason, conflicts, activity });
    } else {
      this.#keep(reply);
      this.#lastSignOfLife = Date.now();
      this.#limits.replace = undefined; // done, once
      this.#become({ type: "opened", activity: reply.activity });
    }
  }

  // The answer to a heartbeat: the stream was ended, or the interval has changed.
  #told(news) {
    if (news.type === "stopped" && news.stream === this.stream) {
      this.#end({ type: "stopped", reason: news.reason, givenReason: news.given_reason });
    } else if (news.type === "interval" && news.stream === this.stream) {
      this.#keep(news);
    }
  }

  #keep({ heartbeat_every_ms, ttl_ms }) {
    this.#sentEveryMs = this.#heartbeatEveryMs = heartbeat_every_ms;
    this.#ttlMs = ttl_ms;
  }

  #publish(kind, body) {
    return this.#link.publish(kind, this.#about(body));
  }

  #about(body) {
    return { account: this.#account, stream: this.stream, ...body };
  }

  #end(state) {
    this.#ended.abort();
    this.#endTicks();
    this.#become(state);
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}

/** From half a second, doubling, to half a minute; half of it jitter, so that clients spread. */
function backOff(attempt) {
  return Math.min(30_000, 500 * 2 ** attempt) * (0.5 + Math.random() / 2);
}

function sleep(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const end = () => (clearTimeout(timer), resolve());
    if (signal?.aborted) end();
    signal?.addEventListener("abort", end, { once: true });
  });
}
