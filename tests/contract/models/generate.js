// Generates models of the contract with AsyncAPI's Modelina, as developers of clients do.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import modelina from "@asyncapi/modelina";
import yaml from "js-yaml";

export const CONTRACT = fileURLToPath(new URL("../../../deploy/asyncapi.yaml", import.meta.url));

const { GoFileGenerator, PythonFileGenerator, TypeScriptFileGenerator } = modelina;
const { GO_COMMON_PRESET, PYTHON_PYDANTIC_PRESET, TS_COMMON_PRESET } = modelina;

const LANGUAGES = {
  typescript: {
    options: { presets: [{ preset: TS_COMMON_PRESET, options: { marshalling: true } }] },
    Generator: TypeScriptFileGenerator,
    files: { exportType: "named" },
  },
  python: {
    options: { presets: [PYTHON_PYDANTIC_PRESET] },
    Generator: PythonFileGenerator,
    files: {},
  },
  go: {
    options: { presets: [{ preset: GO_COMMON_PRESET, options: { addJsonTag: true } }] },
    Generator: GoFileGenerator,
    files: { packageName: "main" },
  },
};

/** Writes the models into the folder. */
export async function generate(language, folder) {
  const { Generator, options, files } = LANGUAGES[language];
  await new Generator(options).generateToFiles(await readFile(CONTRACT, "utf8"), folder, files);
}

/** Each example of the contract: the schema's name, and the body. */
export async function examples() {
  const { messages } = yaml.load(await readFile(CONTRACT, "utf8")).components;
  return Object.values(messages).flatMap(({ payload, examples }) => {
    const schema = payload.$ref.split("/").at(-1);
    return examples.map((example) => ({ schema, body: example.payload }));
  });
}
