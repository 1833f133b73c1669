// Comments, strings and names of tests in source files, as paragraphs for textlint.

const STRING = String.raw`"(?:[^"\\]|\\[\s\S])*"`;
const QUOTED = String.raw`'(?:[^'\\\n]|\\.)*'`;
const HEREDOC = String.raw`<<-?'?(\w+)'?\n[\s\S]*?\n\1\n`;

/** The tokens that can hold prose, by extension. */
const TOKENS = {
  ".rs": String.raw`//[^\n]*|\bfn \w+|r#+"[\s\S]*?"#+|${STRING}|'(?:\\.|[^'\\])'`,
  ".go": String.raw`//[^\n]*|${STRING}`,
  ".js": String.raw`/\*[\s\S]*?\*/|(?<!:)//[^\n]*|${STRING}|${QUOTED}`,
  ".py": String.raw`#[^\n]*|\bdef test\w+|"""[\s\S]*?"""|${STRING}|${QUOTED}`,
  ".json": STRING,
  ".toml": String.raw`#[^\n]*|${STRING}`,
  ".yml": String.raw`^[^\n]+`,
  ".yaml": String.raw`^[^\n]+`,
  ".sh": String.raw`(?<=^|\s)#[^\n]*|${HEREDOC}|${STRING}|'[^']*'`,
};

const COMMENT = /^(?:\/\/|#)/;
const KEY = /^\s*(?:- )*[\w"'{./$-]+:(?:\s|$)/;

/** The text with everything but words blanked: as long, so that positions stay. */
function words(token, yaml) {
  const blank = (found) => found.replace(/[^\n]/g, " ");
  const bare = token
    .replace(yaml ? KEY : "", blank)
    .replace(/^(\s*)(?:\/\/[/!]?|\/\*\*?|#!?|"""|r#*"|["']|[>|]-?$|<<\S*)/, blank)
    .replace(/(?:\*\/|"""|"#*|')$/, blank)
    .replace(/\\[n\n]|\n\s*\*(?=\s)/g, blank);
  return /^(?:fn|def) /.test(bare) ? bare.replace(/_/g, " ").replace(/^(?:fn|def)/, blank) : bare;
}

/** Ranges of paragraphs: neighbouring comments, and the lines of one YAML value, belong together. */
function paragraphs(text, extension) {
  const yaml = extension.startsWith(".y");
  const found = [];
  for (const { 0: raw, index } of text.matchAll(new RegExp(TOKENS[extension], "gm"))) {
    const last = found.at(-1);
    const between = last && text.slice(last.end, index);
    const value = words(raw, yaml);
    const comment = COMMENT.test(raw.trim());
    const continues = yaml ? comment || !KEY.test(raw) : comment;
    if (last?.comment === comment && continues && /^[^\S\n]*\n[^\S\n]*$/.test(between)
        && /\w/.test(value) && (yaml || /\w/.test(last.value))) {
      last.value += between + value;
      last.end = index + raw.length;
    } else {
      found.push({ start: index, end: index + raw.length, comment, value });
    }
  }
  return found.filter(({ value }) => /\w+[\s,]+\w+\s+\w+/.test(value));
}

/** A processor of textlint for the extensions above. */
export class SourceProcessor {
  availableExtensions() {
    return [...Object.keys(TOKENS), ".service", ".conf"];
  }

  processor(extension) {
    return {
      preProcess(text) {
        const starts = [0];
        for (const { index } of text.matchAll(/\n/g)) starts.push(index + 1);
        const position = (offset) => {
          let [low, high] = [0, starts.length - 1];
          while (low < high) {
            const middle = (low + high + 1) >> 1;
            if (starts[middle] <= offset) low = middle;
            else high = middle - 1;
          }
          return { line: low + 1, column: offset - starts[low] };
        };
        const node = (type, start, end, rest) => ({
          type,
          raw: text.slice(start, end),
          range: [start, end],
          loc: { start: position(start), end: position(end) },
          ...rest,
        });
        const kind = extension in TOKENS ? extension : ".toml";
        const children = paragraphs(text, kind).map(({ start, end, value }) =>
          node("Paragraph", start, end, { children: [node("Str", start, end, { value })] }));
        return node("Document", 0, text.length, { children });
      },
      postProcess: (messages, filePath) => ({ messages, filePath }),
    };
  }
}
