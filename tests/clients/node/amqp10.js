// A connection to streamwatch over AMQP 1.0, with rhea, for RabbitMQ 4: for players and backends.
//
// It is used like the connection in `amqp.js`. Replies arrive by direct reply-to, which needs
// RabbitMQ 4.2 and no permission. On an older RabbitMQ, name a queue in `replyQueue`: an operator
// declares it, for this client alone, and permits the user to read it.

import rhea from "rhea";

import { Link, NoAnswer } from "../javascript/link.js";

// RabbitMQ generates the address. It delivers replies without storing them, so they need credit.
const DIRECT_REPLY_TO = {
  source: {
    dynamic: true,
    expiry_policy: "link-detach",
    capabilities: ["rabbitmq:volatile-queue"],
  },
  snd_settle_mode: 1,
};
const CREDIT = 1_000;

/** Connects in the background, and again whenever the connection is lost. */
export class Amqp10Link extends Link {
  #connection;
  #sender;
  #replyTo;
  #exchange;
  #tenant;
  // Publishes without an outcome, by delivery id.
  #unconfirmed = new Map();

  constructor(url, tenant, { namespace = "", replyQueue } = {}) {
    super();
    this.#tenant = tenant;
    this.#exchange = `${namespace}streamwatch`;
    const address = new URL(url);
    const secure = address.protocol === "amqps:";
    this.#connection = rhea.create_container().connect({
      transport: secure ? "tls" : "tcp",
      host: address.hostname,
      port: address.port || (secure ? 5671 : 5672),
      hostname: `vhost:${decodeURIComponent(address.pathname.slice(1)) || "/"}`,
      username: decodeURIComponent(address.username),
      password: decodeURIComponent(address.password),
      idle_time_out: 20_000,
      initial_reconnect_delay: 200,
      max_reconnect_delay: 10_000,
      all_errors_non_fatal: true,
    });
    for (const lost of ["disconnected", "connection_error"]) {
      this.#connection.on(lost, ({ error }) => this.disconnected(error?.message));
    }
    this.#attach(replyQueue ? { source: queueAddress(replyQueue) } : DIRECT_REPLY_TO);
  }

  /** Opens a session with its links. After a reconnect, rhea opens them again. */
  #attach(source) {
    const session = this.#connection.create_session();
    session.begin();
    const receiver = session.open_receiver({ credit_window: CREDIT, ...source });
    // Without an address of its own: each message names its destination.
    const sender = session.open_sender({ target: {} });
    receiver.on("message", ({ message }) => {
      this.received(message.correlation_id, message.body.content.toString());
    });
    const opened = () => {
      if (!receiver.is_open() || !sender.is_open()) return;
      this.#sender = sender;
      // Direct reply-to has another address after each reconnect.
      this.#replyTo = receiver.source.address;
      this.connected();
    };
    receiver.on("receiver_open", opened);
    sender.on("sender_open", opened);
    for (const outcome of ["accepted", "rejected", "released", "modified"]) {
      sender.on(outcome, ({ delivery }) => this.#settled(delivery, outcome));
    }
    // RabbitMQ closes a session over what it refuses: begin anew.
    session.on("session_error", () => {
      this.disconnected(session.error.description);
      session.remove();
      setTimeout(() => this.#attach(source), 200);
    });
  }

  transmit(kind, body, { correlationId = crypto.randomUUID(), messageId }) {
    return new Promise((resolve, reject) => {
      const { id } = this.#sender.send({
        to: `/exchanges/${encodeURIComponent(this.#exchange)}/${this.#tenant}.${kind}`,
        durable: true,
        // It picks the partition: any account of a batch does.
        application_properties: { account: body.account ?? body.events?.[0]?.account },
        content_type: "application/json",
        reply_to: kind === "stop" ? undefined : this.#replyTo,
        correlation_id: correlationId,
        message_id: messageId,
        body: JSON.stringify(body),
      });
      this.#unconfirmed.set(id, { resolve, reject });
    });
  }

  #settled({ id, remote_state: state }, outcome) {
    const { resolve, reject } = this.#unconfirmed.get(id) ?? {};
    this.#unconfirmed.delete(id);
    if (outcome === "accepted") return resolve?.();
    reject?.(new NoAnswer(state?.error?.description ?? outcome));
  }

  disconnected(why) {
    super.disconnected(why);
    for (const { reject } of this.#unconfirmed.values()) reject(new NoAnswer(why));
    this.#unconfirmed.clear();
  }

  async close() {
    this.#connection.close();
    this.disconnected("closed");
  }
}

const queueAddress = (queue) => `/queues/${encodeURIComponent(queue)}`;
