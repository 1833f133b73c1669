// textlint with the project's rule, for Markdown and for prose in source files.

import { readFile } from "node:fs/promises";
import { extname } from "node:path";

import markdown from "@textlint/textlint-plugin-markdown";
import { TextlintKernel, TextlintKernelDescriptor } from "@textlint/kernel";

import { prose } from "./rule.js";
import { SourceProcessor } from "./source.js";

const kernel = new TextlintKernel();
const descriptor = new TextlintKernelDescriptor({
  rules: [{ ruleId: "style", rule: prose }],
  plugins: [
    { pluginId: "markdown", plugin: markdown.default ?? markdown },
    { pluginId: "source", plugin: { Processor: SourceProcessor } },
  ],
  filterRules: [],
});

/** Everything in these files that breaks a rule of style.js, in order. A file without extension is a script. */
export async function lint(files) {
  const found = [];
  for (const file of files) {
    const options = { ...descriptor.toKernelOptions(), ext: extname(file) || ".sh", filePath: file };
    const { messages } = await kernel.lintText(await readFile(file, "utf8"), options);
    for (const { line, message } of messages) {
      const [words, write] = message.split(": write ");
      found.push({ file, line, words, write });
    }
  }
  return found;
}
