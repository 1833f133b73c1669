// A connection to streamwatch over RabbitMQ's Web STOMP, with @stomp/stompjs: for browsers.

import { Client, ReconnectionTimeMode, TickerStrategy } from "@stomp/stompjs";

import { Link } from "../javascript/link.js";

// RabbitMQ makes a queue of its own for each connection and name, and takes it away with it.
const REPLIES = "/temp-queue/replies";

/** Connects in the background, and again whenever the connection is lost. */
export class StompLink extends Link {
  #client;
  #destination;
  #confirms = new Map();

  constructor({ brokerURL, login, passcode, vhost = "/", tenant, namespace = "" }) {
    super();
    this.#destination = `/exchange/${namespace}streamwatch/${tenant}`;
    this.#client = new Client({
      brokerURL,
      connectHeaders: { login, passcode, host: vhost },
      connectionTimeout: 10_000,
      reconnectDelay: 500,
      maxReconnectDelay: 10_000,
      reconnectTimeMode: ReconnectionTimeMode.EXPONENTIAL,
      // A connection that dies without a word is noticed. A tab in the background has slow timers,
      // so the beats come from a worker of the library's.
      heartbeatIncoming: 10_000,
      heartbeatOutgoing: 10_000,
      heartbeatStrategy: TickerStrategy.Worker,
      discardWebsocketOnCommFailure: true,
      beforeConnect: () => this.#spread(),
      onConnect: () => this.connected(),
      onStompError: (frame) => this.disconnected(frame.headers.message),
      onWebSocketClose: () => this.disconnected(),
      // Replies come without a subscription: RabbitMQ makes it for `reply-to`.
      onUnhandledMessage: ({ headers, body }) => this.received(headers["correlation-id"], body),
      onUnhandledReceipt: (frame) => this.#confirmed(frame.headers["receipt-id"]),
    });
    this.#client.activate();
  }

  // Every page comes back when the broker does: not all at the same moment.
  #firstTry = true;
  async #spread() {
    if (!this.#firstTry) await new Promise((done) => setTimeout(done, Math.random() * 1_000));
    this.#firstTry = false;
  }

  transmit(kind, body, { correlationId = crypto.randomUUID(), messageId }) {
    return new Promise((resolve) => {
      const receipt = crypto.randomUUID();
      this.#confirms.set(receipt, resolve);
      this.#client.publish({
        destination: `${this.#destination}.${kind}`,
        headers: {
          account: body.account, // names that STOMP does not define become AMQP headers
          "content-type": "application/json",
          "correlation-id": correlationId,
          persistent: "true",
          receipt, // sent once the broker has the message safe
          ...(messageId && { "amqp-message-id": messageId }),
          ...(kind !== "stop" && { "reply-to": REPLIES }),
        },
        body: JSON.stringify(body),
      });
    });
  }

  #confirmed(receipt) {
    this.#confirms.get(receipt)?.();
    this.#confirms.delete(receipt);
  }

  disconnected(why) {
    // Their receipts are lost; the pending requests time out.
    this.#confirms.clear();
    super.disconnected(why);
  }

  close() {
    return this.#client.deactivate();
  }
}
