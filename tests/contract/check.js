#!/usr/bin/env node
// Validates the contract: `check.js [FILE]`. Prints every error and warning as a line
// `FILE:LINE:COLUMN severity: message`, and exits with 1 if there is one.

import { readFile } from "node:fs/promises";
import { relative } from "node:path";

import { CONTRACT, parse } from "./document.js";

const file = process.argv[2] ?? CONTRACT;
const { document, problems } = await parse(await readFile(file, "utf8"));
for (const problem of problems) {
  console.error(`${relative("", file)}:${problem}`);
}
if (problems.length) process.exit(1);
const messages = document.components().messages().all();
const examples = messages.flatMap((message) => message.examples().all());
const size = `${messages.length} messages, ${examples.length} examples`;
console.log(`${relative("", file)} is sound: ${size}`);
