// A connection to streamwatch over AMQP 0.9.1, with amqplib: for players and backends in Node.

import { setMaxListeners } from "node:events";

import amqp from "amqplib";

import { Link, NoAnswer } from "../javascript/link.js";

// The pseudo-queue of RabbitMQ's direct reply-to: no reply queue is declared.
const DIRECT_REPLY_TO = "amq.rabbitmq.reply-to";

/** Connects in the background, and again whenever the connection is lost. */
export class AmqpLink extends Link {
  #connection;
  #channel;
  #exchange;
  #tenant;

  constructor(url, tenant, { namespace = "" } = {}) {
    super();
    setMaxListeners(0, this); // any number of players share a link
    this.#tenant = tenant;
    this.#exchange = `${namespace}streamwatch`;
    const address = new URL(url);
    // A connection that dies without a word is noticed within 20 s, not two minutes.
    if (!address.searchParams.has("heartbeat")) address.searchParams.set("heartbeat", "10");
    this.#connection = amqp.connect(address.href, {
      timeout: 10_000,
      recovery: {
        waitForConnect: false,
        initialDelay: 200,
        maxDelay: 10_000,
        jitter: 0.5,
        setup: (connection) => this.#open(connection),
      },
    });
    this.#connection.then((connection) => {
      connection.on("disconnect", (error) => this.disconnected(error.message));
      connection.on("error", () => {}); // `disconnect` says it
    });
  }

  async #open(connection) {
    connection.on("error", () => {}); // reported by `disconnect` or the next try to connect
    const channel = await connection.createConfirmChannel();
    channel.on("error", (error) => this.disconnected(error.message));
    // RabbitMQ closes a channel over what it refuses: begin anew, with the same pauses.
    channel.on("close", () => connection.close().catch(() => {}));
    // The consumer comes first, and on the same channel as the requests.
    await channel.consume(DIRECT_REPLY_TO, (message) => this.#deliver(message), { noAck: true });
    this.#channel = channel;
    this.connected();
  }

  #deliver(message) {
    if (message === null) return this.disconnected("the consumer was cancelled");
    this.received(message.properties.correlationId, message.content.toString());
  }

  transmit(kind, body, { correlationId = crypto.randomUUID(), messageId }) {
    return new Promise((resolve, reject) => {
      this.#channel.publish(
        this.#exchange,
        `${this.#tenant}.${kind}`,
        Buffer.from(JSON.stringify(body)),
        {
          // It picks the partition: any account of a batch does.
          headers: { account: body.account ?? body.events?.[0]?.account },
          contentType: "application/json",
          replyTo: kind === "stop" ? undefined : DIRECT_REPLY_TO,
          correlationId,
          messageId,
        },
        (error) => (error ? reject(new NoAnswer(error.message)) : resolve()),
      );
    });
  }

  async close() {
    await (await this.#connection).close();
    this.disconnected("closed");
  }
}
