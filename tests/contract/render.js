// The contract as a page for people, of the parsed document.

import { code, codes, flat, heading, json, link, table } from "./markdown.js";
import { fields, headers, partTitle, parts } from "./schema.js";

const MADE_FROM = `Made from [asyncapi.yaml](asyncapi.yaml) (AsyncAPI 3.0), which says the same to programs: change
that, then run \`npm --prefix tests/contract run page\`. The tests send every example in it to a running worker, and
compare every reply that they receive with it. Clients to read are in [tests/clients](../tests/clients).`;

const REQUEST = "required";
const REPLY = "always there";

const replyTitle = (name) => `Reply ${name}`;
const typeOf = (message) => message.bindings.amqp.messageType;

/** The whole page; `document` has its references resolved. */
export function render(document) {
  const { operations, channels, components } = document;
  const asked = Object.entries(operations).filter(([, { action }]) => action === "receive");
  const told = Object.values(operations).filter(({ action }) => action === "send");
  const replies = Object.values(channels.replies.messages);
  const payloads = Object.values(components.messages).map(({ payload }) => payload);
  const sections = [
    heading(1, `${document.info.title}: the contract, version ${parseInt(document.info.version)}`),
    MADE_FROM,
    document.info.description.trim(),
    heading(2, "At a glance"),
    atAGlance(asked),
    parameter("tenant", components.parameters.tenant),
    heading(2, "AMQP headers and properties of what you send"),
    headers(components.schemas.RequestHeaders, REQUEST),
    ...asked.flatMap(([, operation]) => request(operation)),
    heading(2, channels.replies.title),
    channels.replies.description.trim(),
    headers(components.schemas.ReplyHeaders, REPLY),
    ...replies.flatMap((message) => reply(message)),
    ...told.flatMap((operation) => notices(operation)),
    heading(2, "Objects in bodies"),
    ...unique(payloads.flatMap(parts)).flatMap((part) => [
      heading(3, partTitle(part)),
      fields(part, REPLY),
    ]),
  ];
  return `${sections.join("\n\n")}\n`;
}

function atAGlance(asked) {
  const rows = asked.map(([, { channel, title, reply }]) => [
    code(channel.address),
    link(title),
    reply.messages.map(({ name }) => link(replyTitle(name), name)).join(", "),
  ]);
  return table(["routing key", "what it does", "replies, where `reply_to` is set"], rows);
}

function request({ title, summary, description, channel, messages }) {
  const [message] = messages;
  const about = [heading(2, title), flat(summary), description?.trim(), address(channel)];
  about.push(channel.description?.trim());
  // Several messages in one channel: each has a section of its own.
  if (messages.length === 1) {
    about.push(fields(message.payload, REQUEST));
    for (const { summary, headers, payload } of message.examples) {
      const key = channel.address.replace("{tenant}", "acme");
      about.push(says(summary), sent(key, headers, message.headers.properties), json(payload));
    }
  }
  return about.filter(Boolean);
}

function address({ bindings, address, parameters }) {
  const where = `Exchange ${code(bindings.amqp.exchange.name)}, routing key ${code(address)}.`;
  const others = Object.entries(parameters).filter(([name]) => name !== "tenant");
  return [where, ...others.map(([name, meaning]) => parameter(name, meaning))].join(" ");
}

function parameter(name, { description, enum: words }) {
  const meaning = `${code(`{${name}}`)}: ${flat(description)}`;
  return words ? `${meaning.replace(/\.$/, "")}: ${codes(words)}.` : meaning;
}

const says = (summary) => (summary ? flat(summary) : undefined);

/** How an example is published. */
function sent(key, values, known) {
  const places = Object.entries(values).map(
    ([name, value]) => `${known[name]["x-amqp"]} ${code(`${name}: ${value}`)}`,
  );
  return [`Routing key ${code(key)}`, ...places].join(", ") + ":";
}

function reply(message) {
  const provoked = message["x-provoked-by"];
  return [
    heading(3, replyTitle(message.name)),
    flat(message.summary),
    fields(message.payload, REPLY),
    ...(provoked ? errors(message, provoked) : examples(message)),
  ];
}

function errors({ payload, examples }, provoked) {
  const problem = payload.properties.error;
  const rows = examples.map(({ name, summary, payload }) => [
    code(name),
    flat(summary),
    cause(provoked[name]),
    flat(payload.error.message),
    payload.error.retryable ? `yes, after ${payload.error.retry_after_ms} ms` : "no",
  ]);
  return [
    table(["code", "meaning", "such as", "message", "try again"], rows),
    json(examples.find(({ payload }) => payload.error.field).payload),
    `The fields of ${code("error")} are in ${link(partTitle(problem))}.`,
  ];
}

function cause({ routingKey, text, payload, paddedTo, when }) {
  const body = code(text ?? JSON.stringify(payload));
  const padded = paddedTo ? `, padded to ${paddedTo} bytes` : "";
  return `${code(routingKey)} with ${body}${padded}${when ? `, when ${when}` : ""}`;
}

function notices({ title, summary, channel, messages }) {
  return [
    heading(2, title),
    flat(summary),
    address(channel),
    channel.description.trim(),
    headers(messages[0].headers, REPLY),
    ...messages.flatMap((message) => [
      ...(messages.length > 1 ? [heading(3, `Fact ${typeOf(message)}`)] : []),
      flat(message.summary),
      fields(message.payload, REPLY),
      ...examples(message),
    ]),
  ];
}

/** The first example, and the others folded. */
function examples(message) {
  const [first, ...others] = message.examples;
  const folded = others.flatMap(({ name, summary, payload }) => [
    `<details><summary>${escaped(flat(summary ?? name))}</summary>`,
    json(payload),
    "</details>",
  ]);
  return [says(first.summary), json(first.payload), ...folded].filter(Boolean);
}

// In a line of HTML, Markdown's own quotes are not read.
const escaped = (text) => text.replace(/`([^`]*)`/g, "<code>$1</code>");

function unique(schemas) {
  return [...new Map(schemas.map((schema) => [partTitle(schema), schema])).values()];
}
