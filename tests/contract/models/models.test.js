// Models that generators make of the contract: they compile, and take each example of it.

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";

import { CONTRACT, examples, generate } from "./generate.js";

const run = promisify(execFile);
const require = createRequire(import.meta.url);
const here = import.meta.dirname;
const python = process.env.PYTHON ?? "python3";

const folder = await mkdtemp(join(tmpdir(), "models-"));
after(() => rm(folder, { recursive: true }));
const all = await examples();
const bodies = join(folder, "examples.json");
await writeFile(bodies, JSON.stringify(all));

async function generated(language, name = language) {
  const into = join(folder, name);
  await mkdir(into);
  await generate(language, into);
  const anonymous = (await readdir(into)).filter((file) => /anonym/i.test(file));
  assert.deepEqual(anonymous, [], "each model has a name");
  return into;
}

test("TypeScript models compile, and each example survives them", async () => {
  const models = await generated("typescript");
  const files = (await readdir(models)).map((file) => join(models, file));
  const options = ["--strict", "--target", "es2020", "--module", "commonjs", "--typeRoots", models];
  const compiled = join(folder, "compiled");
  const tsc = require.resolve("typescript/bin/tsc");
  await run(process.execPath, [tsc, ...options, "--outDir", compiled, ...files]);
  // Classes are named apart from JavaScript's own.
  const model = (name) => {
    const own = name === "Status" ? "ReservedStatus" : name;
    return require(join(compiled, own))[own];
  };
  for (const { schema, body } of all) {
    const text = model(schema).unmarshal(JSON.stringify(body)).marshal();
    assert.deepEqual(JSON.parse(text), body);
  }
});

test("Python models by Modelina take each example and return it", async () => {
  await generated("python", "asyncapimodels");
  await run(python, [join(here, "use_modelina.py"), bodies], { env: { PYTHONPATH: folder } });
});

test("Python models by datamodel-code-generator take each example", async () => {
  const options = ["--input-file-type", "asyncapi", "--output-model-type", "pydantic_v2.BaseModel"];
  const files = ["--input", CONTRACT, "--output", join(folder, "models.py")];
  await run(python, ["-m", "datamodel_code_generator", ...options, ...files]);
  await run(python, [join(here, "use_datamodel.py"), bodies], { env: { PYTHONPATH: folder } });
});

const skip = spawnSync("go", ["version"]).status !== 0 && "Go is missing: apt install golang-go";

test("Go models compile, and each example survives them", { skip }, async () => {
  const models = await generated("go");
  const names = [...new Set(all.map(({ schema }) => schema))];
  const each = names.map((name) => `"${name}": func() any { return new(${name}) },`);
  const table = `package main\n\nvar models = map[string]func() any{\n${each.join("\n")}\n}\n`;
  await writeFile(join(models, "models.go"), table);
  await copyFile(join(here, "use.go"), join(models, "use.go"));
  await writeFile(join(models, "go.mod"), "module models\n\ngo 1.18\n");
  const env = { ...process.env, GOCACHE: join(folder, "cache"), GOPROXY: "off" };
  await run("go", ["run", ".", bodies], { cwd: models, env });
});
