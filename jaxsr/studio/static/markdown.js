// Enough of Markdown for a model card: headings, paragraphs, tables, lists, fenced code. Nothing in it can become a
// script, because every text is set as text.

import { element } from "./results.js";

// Links and emphasis keep their words alone; `code` keeps its look.
function words(line) {
  const plain = line.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/\*\*([^*]+)\*\*/g, "$1");
  return plain.split(/(`[^`]*`)/).map((part) =>
    part.length > 2 && part.startsWith("`") ? element("code", { textContent: part.slice(1, -1) }) : part);
}

function table(rows) {
  const cells = rows.map((row) => row.replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim()));
  const [head, , ...body] = cells;
  const line = (row, name) => element("tr", {}, ...row.map((cell) => element(name, {}, ...words(cell))));
  const parts = head.some(Boolean) ? [element("thead", {}, line(head, "th"))] : [];
  return element("div", { className: "scroll", tabIndex: 0 },
    element("table", {}, ...parts, element("tbody", {}, ...body.map((row) => line(row, "td")))));
}

export function markdown(text) {
  const found = [];
  const blocks = text.replace(/\r/g, "").split(/(^```[^]*?^```$)/m);
  for (const block of blocks) {
    if (block.startsWith("```")) {
      found.push(element("pre", { tabIndex: 0, textContent: block.split("\n").slice(1, -1).join("\n") }));
      continue;
    }
    for (const part of block.split(/\n\s*\n/)) {
      const lines = part.split("\n").filter((line) => line.trim());
      if (!lines.length) continue;
      const heading = lines[0].match(/^(#+)\s+(.*)/);
      if (heading) found.push(element(heading[1].length > 1 ? "h4" : "h3", {}, ...words(heading[2])));
      const rest = heading ? lines.slice(1) : lines;
      if (!rest.length) continue;
      if (rest.every((line) => line.startsWith("|"))) found.push(table(rest));
      else if (/^(- |\d+\. )/.test(rest[0])) {
        const items = rest.join("\n").split(/\n(?=- |\d+\. )/);
        found.push(element("ul", {}, ...items.map((item) => element("li", {}, ...words(item.replace(/^(- |\d+\. )/, "").replace(/\s*\n\s*/g, " "))))));
      } else if (rest.every((line) => line.startsWith("    "))) {
        found.push(element("pre", { tabIndex: 0, textContent: rest.map((line) => line.slice(4)).join("\n") }));
      } else found.push(element("p", {}, ...words(rest.join(" "))));
    }
  }
  return found;
}
