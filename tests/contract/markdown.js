// Pieces of Markdown: tables, anchors, JSON that a person can read.

const WIDTH = 100;

export const code = (text) => `\`${text}\``;

export const codes = (texts) => texts.map(code).join(", ");

/** A heading, and the link to it as GitHub makes it. */
export const heading = (level, text) => `${"#".repeat(level)} ${text}`;

export function link(title, text = title) {
  const anchor = title.toLowerCase().replace(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-");
  return `[${text}](#${anchor})`;
}

/** A table; cells are one line each. */
export function table(head, rows) {
  const line = (cells) => `| ${cells.map(cell).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

const cell = (text) => flat(text).replaceAll("|", "\\|");

/** A paragraph in one line. */
export const flat = (text = "") => text.trim().replace(/\s*\n\s*/g, " ");

export const json = (value) => ["```json", pretty(value), "```"].join("\n");

/** JSON, whatever fits in one line. */
function pretty(value, indent = "") {
  const short = oneLine(value);
  if (typeof value !== "object" || indent.length + short.length <= WIDTH) return short;
  const deeper = `${indent}  `;
  const lines = Array.isArray(value)
    ? value.map((item) => deeper + pretty(item, deeper))
    : Object.entries(value).map(
        ([name, item]) => `${deeper}${JSON.stringify(name)}: ${pretty(item, deeper)}`,
      );
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return `${open}\n${lines.join(",\n")}\n${indent}${close}`;
}

function oneLine(value) {
  if (Array.isArray(value)) return `[${value.map(oneLine).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const pairs = Object.entries(value).map(([name, item]) => `"${name}": ${oneLine(item)}`);
  return `{${pairs.join(", ")}}`;
}
