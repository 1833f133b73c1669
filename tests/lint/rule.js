// The rule of textlint that applies style.js to paragraphs, headers and cells of tables.

import { RULES } from "./style.js";

// Not prose: code, targets of links, tags, placeholders.
const CODE = /`[^`]*`|\]\([^)]*\)|<[^>\n]*>|\{[\w.:?#]*\}/g;

/** Positions of a paragraph's words that break a rule. */
export function problems(prose) {
  const text = prose.replace(CODE, (code) => "¤".repeat(code.length));
  const found = [];
  for (const rule of RULES) {
    if (rule.pattern) {
      for (const match of text.matchAll(new RegExp(rule.pattern, "gi"))) {
        found.push({ index: match.index, words: match[0], write: rule.write });
      }
    } else {
      for (const { index, 0: sentence } of text.matchAll(/[^\s.!?:][^.!?]*[.!?]*/g)) {
        const match = rule.sentence.exec(sentence);
        if (match) found.push({ index, words: match[0], write: rule.write });
      }
    }
  }
  return found;
}

/** The rule. */
export function prose(context) {
  const { Syntax, RuleError, report, locator, getSource } = context;
  const check = (node) => {
    const value = node.children.length === 1 && node.children[0].value;
    for (const { index, words, write } of problems(value || getSource(node))) {
      const padding = locator.range([index, index + words.length]);
      report(node, new RuleError(`${words.replace(/\s+/g, " ")}: write ${write}`, { padding }));
    }
  };
  return { [Syntax.Paragraph]: check, [Syntax.Header]: check, [Syntax.TableCell]: check };
}
