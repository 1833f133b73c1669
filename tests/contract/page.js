#!/usr/bin/env node
// Generates deploy/CONTRACT.md from deploy/asyncapi.yaml; with --check, only verifies it.

import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { parse, read } from "./document.js";
import { render } from "./render.js";

const PAGE = fileURLToPath(new URL("../../deploy/CONTRACT.md", import.meta.url));

const { document, problems } = await parse(await read());
if (problems.length) {
  console.error(problems.join("\n"));
  process.exit(1);
}
const page = render(document.json());
if (!process.argv.includes("--check")) {
  await writeFile(PAGE, page);
} else if (page !== (await readFile(PAGE, "utf8").catch(() => ""))) {
  console.error("deploy/CONTRACT.md differs from deploy/asyncapi.yaml. Run: npm run page");
  process.exit(1);
}
