// The contract is valid, mistakes in it are found, and its page is current.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

import { parse, read } from "./document.js";

const text = await read();

/** The contract with one change, and the line where it begins. */
function changed(from, to) {
  const at = text.indexOf(from);
  assert.notEqual(at, -1, `${from} is in the contract`);
  return [text.replace(from, to), text.slice(0, at).split("\n").length];
}

test("AsyncAPI's own parser finds no error and no warning", async () => {
  const { document, problems } = await parse(text);
  assert.deepEqual(problems, []);
  assert.equal(document.version(), "3.0.0");
});

for (const [what, from, to] of [
  ["a reference to nothing", "schemas/Opened'", "schemas/Opend'"],
  ["a field that AsyncAPI does not define", "title: Open a stream", "titel: Open a stream"],
  ["a type that JSON Schema does not define", "type: boolean", "type: bool"],
  ["a key that comes twice", "  title: streamwatch\n", "  title: streamwatch\n  title: it\n"],
  ["text that is not YAML", "title: streamwatch", "title: 'streamwatch"],
]) {
  test(`${what} is refused, with its line`, async () => {
    const [bad, line] = changed(from, to);
    const { document, problems } = await parse(bad);
    assert.equal(document, undefined);
    const lines = problems.map((problem) => parseInt(problem));
    assert.ok(lines.some((found) => Math.abs(found - line) <= 1), `${line}: ${problems}`);
  });
}

test("the page deploy/CONTRACT.md is current", () => {
  const page = fileURLToPath(new URL("page.js", import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [page, "--check"], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
});
