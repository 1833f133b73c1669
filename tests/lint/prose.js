#!/usr/bin/env node
// Usage: node prose.js [PATHSPEC...]
//
// Checks the prose of tracked files against style.js, by default of those in FILES. Prints file, line,
// the words that break a rule, and the words to write instead. Exits with 1 if it found any.

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { lint } from "./linter.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FILES = ["*.md", ".github", "deploy", "src", "tests"];
const GENERATED = /^deploy\/CONTRACT\.md$|^tests\/lint\/|^tests\/simulation\/mutate$|package-lock\.json$|\.(?:txt|html|css)$/;

const specs = process.argv.length > 2 ? process.argv.slice(2) : FILES;
const names = execFileSync("git", ["ls-files", "-z", "--", ...specs], { cwd: ROOT, encoding: "utf8" });
const files = names.split("\0").filter((name) => name && !GENERATED.test(name));
if (!files.length) throw new Error(`no tracked file matches ${specs.join(" ")}`);
const found = await lint(files.map((name) => ROOT + name));
for (const { file, line, words, write } of found) {
  console.log(`${file.slice(ROOT.length)}:${line}: "${words}": write ${write}`);
}
if (found.length) console.log(`${found.length} places break the rules in tests/lint/style.js`);
process.exitCode = found.length ? 1 : 0;
