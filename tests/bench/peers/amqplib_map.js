// A worker with amqplib and a Map: applies the events of a log, and replies to `status` with a count.
//
// Usage: amqplib_map.js LOG END EXCHANGE, where END is the offset at which the log counts as drained.

import amqp from "amqplib";

const TTL = 3_600_000;
const [log, end, exchange] = process.argv.slice(2);
const deadlines = new Map(); // account -> stream -> deadline
let applied = 0;

function report(message, entries = 0) {
  console.error(JSON.stringify({ timestamp: new Date().toISOString(), message, entries }));
}

function onEvent({ content, fields, properties }) {
  if (fields.exchange) { // streamwatch's own entries come from the default exchange
    const { account, stream } = JSON.parse(content);
    if (fields.routingKey.split(".")[1] === "stop") {
      deadlines.get(account)?.delete(stream);
    } else {
      if (!deadlines.has(account)) deadlines.set(account, new Map());
      deadlines.get(account).set(stream, Date.now() + TTL);
    }
    applied += 1;
  }
  if (fields.deliveryTag % 64 === 0) events.ack({ fields }, true);
  if (properties.headers["x-stream-offset"] === Number(end)) report("consuming requests", applied);
}

function onStatus(request) {
  const { account } = JSON.parse(request.content);
  const now = Date.now();
  let count = 0;
  for (const deadline of deadlines.get(account)?.values() ?? []) count += deadline > now;
  const { replyTo, correlationId } = request.properties;
  requests.sendToQueue(replyTo, Buffer.from(JSON.stringify({ account, count })), { correlationId });
  requests.ack(request);
}

function expire() {
  const now = Date.now();
  for (const [account, streams] of deadlines) {
    if ([...streams.values()].every((deadline) => deadline <= now)) deadlines.delete(account);
  }
}

const connection = await amqp.connect(process.env.AMQP_URL, { noDelay: true });
const [requests, events] = [await connection.createChannel(), await connection.createChannel()];
await requests.assertExchange(exchange, "topic");
const { queue } = await requests.assertQueue(`${exchange}.status`, { arguments: { "x-queue-type": "classic" } });
await requests.bindQueue(queue, exchange, "*.status.#");
await requests.prefetch(256);
await requests.consume(queue, onStatus);
await events.prefetch(256);
await events.consume(log, onEvent, { arguments: { "x-stream-offset": "first" } });
report("attached to the log");
setInterval(expire, TTL);
