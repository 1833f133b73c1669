// JSON Schemas in words.

import { code, codes, flat, link, table } from "./markdown.js";

const FORMATS = { uuid: "UUID", "date-time": "moment" };

/** The heading of the section of an object that several messages contain. */
export const partTitle = (schema) => `Object ${nameOf(schema)}`;

const nameOf = (schema) => schema["x-parser-schema-id"];

/** A schema that only lends its description to another is that other. */
const itself = (schema) => (schema.allOf?.length === 1 ? schema.allOf[0] : schema);

const isPart = (schema) => schema.properties !== undefined;

/** The fields of an object, as a table. */
export function fields(schema, required = "required") {
  const rows = Object.entries(schema.properties).map(([name, field]) => [
    code(name),
    schema.required?.includes(name) ? "yes" : "no",
    typeOf(field),
    meaning(field),
  ]);
  return table(["field", required, "type and limits", "meaning"], rows);
}

/** Headers and properties of an AMQP message, as a table. */
export function headers(schema, required) {
  const rows = Object.entries(schema.properties).map(([name, header]) => [
    `${header["x-amqp"]} ${code(name)}`,
    schema.required?.includes(name) ? "yes" : "no",
    meaning(header),
  ]);
  return table(["AMQP", required, "meaning"], rows);
}

/** The objects that a schema's fields are made of, those within them included. */
export function parts(schema) {
  const inner = itself(schema);
  const below = [...Object.values(inner.properties ?? {}), ...(inner.items ? [inner.items] : [])];
  return below.flatMap((field) => {
    const found = itself(field);
    return [...(isPart(found) ? [found] : []), ...parts(found)];
  });
}

const meaning = (schema) => flat(schema.description ?? itself(schema).description);

function typeOf(schema) {
  const inner = itself(schema);
  if (isPart(inner)) return link(partTitle(inner), nameOf(inner));
  if ("const" in inner) return code(JSON.stringify(inner.const));
  if (inner.enum) return codes(inner.enum) + (inner.default ? `; else ${code(inner.default)}` : "");
  if (inner.type === "array") return `array${atMost(inner.maxItems)}: ${typeOf(inner.items)}`;
  const values = inner.additionalProperties;
  if (values) return `object${atMost(inner.maxProperties, " pairs")}: ${typeOf(values)}`;
  return plainType(inner);
}

const atMost = (limit, unit = "") => (limit === undefined ? "" : `, at most ${limit}${unit}`);

function plainType({ type, format, minimum, maximum, maxLength, pattern }) {
  const name = FORMATS[format] ?? [type].flat().join(" or ");
  if (maximum !== undefined) return `${name}, ${minimum} to ${maximum}`;
  if (minimum !== undefined) return `${name}, at least ${minimum}`;
  if (maxLength !== undefined) return name + atMost(maxLength);
  return pattern && !format ? `${name}, ${code(pattern)}` : name;
}
