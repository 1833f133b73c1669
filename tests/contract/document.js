// The contract, read by AsyncAPI's own parser.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { Parser } from "@asyncapi/parser";
import { getLocationForJsonPath, parseWithPointers } from "@stoplight/yaml";

export const CONTRACT = fileURLToPath(new URL("../../deploy/asyncapi.yaml", import.meta.url));

const SEVERITIES = ["error", "warning", "information", "hint"];
const WARNING = 1;

/**
 * Parses `text`. `problems` are its errors and warnings, one line each: `12:3 error: …`. Only
 * without any there is a `document`.
 */
export async function parse(text) {
  const { document, diagnostics } = await new Parser().parse(text);
  const serious = diagnostics.filter(({ severity }) => severity <= WARNING);
  const problems = serious.map(({ severity, message, code, path, range }) => {
    const { line, character } = (path.length && placeOf(text, path)) || range.start;
    return `${line + 1}:${character + 1} ${SEVERITIES[severity]}: ${message} (${code})`;
  });
  // The parser repeats a problem for each reference to its place.
  return { document: serious.length ? undefined : document, problems: [...new Set(problems)] };
}

/**
 * The position of a path in the text. The parser's own positions ignore references, which it has
 * resolved by then.
 */
function placeOf(text, path) {
  const source = parseWithPointers(text);
  let here = [];
  for (const step of path) {
    here.push(step);
    const found = at(source.data, here);
    const target = found?.$ref?.split("/").slice(1);
    if (target && at(source.data, target) !== undefined) here = target;
  }
  return getLocationForJsonPath(source, here, true)?.range.start;
}

const at = (value, path) => path.reduce((part, step) => part?.[step], value);

/** The text of the contract. */
export const read = () => readFile(CONTRACT, "utf8");
