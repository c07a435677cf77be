// A little Markdown, as models write it, to DOM nodes. Foreign text only ever becomes text nodes; nothing is parsed
// as HTML. What is not understood stands there as it was written. The cost is linear in the text.

// No pattern has two neighbours that can match the same characters: it would try every way to share them out.
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6})\s+/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?([^]*)$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+([^]*)$/;
const TABLE_RULE = /^\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?$/; // of a trimmed line
const URL_TEXT = /https?:\/\/[^\s<>"'`]{1,2000}/y;
const URL_END = new Set(".,;:!?)]}*_");
const MAX_DEPTH = 8;
const MAX_LINK_CHARS = 2000;

/** Return a fragment that shows a text. */
export function renderMarkdown(text) {
  return blocks(text.replaceAll("\r\n", "\n").split("\n"), 0);
}

function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function blocks(lines, depth) {
  const out = document.createDocumentFragment();
  let paragraph = [];
  const endParagraph = () => {
    if (paragraph.length) out.append(element("p", "", inline(paragraph.join("\n"), 0)));
    paragraph = [];
  };
  let index = 0;
  while (index < lines.length) {
    const line = lines[index];
    let match;
    if ((match = FENCE.exec(line)) && !line.includes("`", match[0].length)) {
      endParagraph();
      index = code(out, lines, index, match[1], line.slice(match[0].length).trim().split(/\s/, 1)[0]);
    } else if (!line.trim()) {
      endParagraph();
      index += 1;
    } else if ((match = HEADING.exec(line))) {
      endParagraph();
      // The page has its own h1 and h2.
      out.append(element(`h${Math.min(6, match[1].length + 2)}`, "", inline(headingText(line.slice(match[0].length)), 0)));
      index += 1;
    } else if (RULE.test(line)) {
      endParagraph();
      out.append(element("hr"));
      index += 1;
    } else if (depth < MAX_DEPTH && QUOTE.test(line)) {
      endParagraph();
      const quoted = [];
      while (index < lines.length && (match = QUOTE.exec(lines[index]))) {
        quoted.push(match[1]);
        index += 1;
      }
      out.append(element("blockquote", "", blocks(quoted, depth + 1)));
    } else if (depth < MAX_DEPTH && ITEM.test(line)) {
      endParagraph();
      index = list(out, lines, index, depth);
    } else if (line.includes("|") && index + 1 < lines.length && lines[index + 1].includes("-")
               && TABLE_RULE.test(lines[index + 1].trim()) && lines[index + 1].includes("|")) {
      endParagraph();
      index = table(out, lines, index);
    } else {
      paragraph.push(line.trimStart());
      index += 1;
    }
  }
  endParagraph();
  return out;
}

/** Return what a heading says, without the marks that may close it. */
function headingText(line) {
  const text = line.trimEnd();
  let end = text.length;
  while (text[end - 1] === "#") end -= 1;
  return end === 0 || /\s/.test(text[end - 1]) ? text.slice(0, end).trimEnd() : text;
}

function code(out, lines, start, fence, language) {
  const content = [];
  let index = start + 1;
  const ends = (line) => {
    const text = line.trim();
    return text.length >= fence.length && text === fence[0].repeat(text.length);
  };
  while (index < lines.length && !ends(lines[index])) {
    content.push(lines[index]);
    index += 1;
  }
  const text = content.join("\n");
  const copy = element("button", "copy", "Copy");
  copy.type = "button";
  copy.addEventListener("click", () => copyText(text, copy));
  const head = element("div", "code-head", element("span", "", language || "code"), copy);
  const pre = element("pre", "", element("code", "", text));
  pre.tabIndex = 0; // so that it can be scrolled with the keyboard
  out.append(element("div", "code", head, pre));
  return index + 1;
}

function list(out, lines, start, depth) {
  const first = ITEM.exec(lines[start]);
  const indent = first[1].length;
  const ordered = /\d/.test(first[2]);
  const node = element(ordered ? "ol" : "ul");
  if (ordered && parseInt(first[2], 10) !== 1) node.start = parseInt(first[2], 10);
  let index = start;
  while (index < lines.length) {
    const match = ITEM.exec(lines[index]);
    if (!match || match[1].length > indent + 1 || match[1].length < indent || /\d/.test(match[2]) !== ordered) break;
    const content = [match[3]];
    const inner = match[0].length - match[3].length;
    index += 1;
    // What is indented belongs to the item; an empty line ends it unless something indented follows.
    while (index < lines.length) {
      const line = lines[index];
      const lead = line.length - line.trimStart().length;
      if (!line.trim()) {
        let next = index + 1;
        while (next < lines.length && !lines[next].trim()) next += 1;
        const follows = next < lines.length ? lines[next] : "";
        if (follows.length - follows.trimStart().length <= indent) break;
        for (; index < next; index += 1) content.push("");
        continue;
      }
      if (lead <= indent + (ITEM.test(line) ? 1 : 0) && (ITEM.test(line) || lead === 0)) break;
      content.push(line.slice(Math.min(lead, inner)));
      index += 1;
    }
    node.append(item(content, depth));
    // Items may be told apart by empty lines.
    let next = index;
    while (next < lines.length && !lines[next].trim()) next += 1;
    const after = next < lines.length && ITEM.exec(lines[next]);
    if (after && after[1].length >= indent && after[1].length <= indent + 1) index = next;
  }
  out.append(node);
  return index;
}

function item(content, depth) {
  const inner = blocks(content, depth + 1);
  const node = element("li");
  // A single paragraph needs no space around it.
  const only = inner.firstElementChild;
  if (only && only.tagName === "P") {
    node.append(...only.childNodes);
    only.remove();
  }
  node.append(inner);
  return node;
}

function table(out, lines, start) {
  const cells = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "").split("|").map((cell) => cell.trim());
  const row = (line, name) => element("tr", "", ...cells(line).map((cell) => element(name, "", inline(cell, 0))));
  const body = element("tbody");
  let index = start + 2;
  while (index < lines.length && lines[index].includes("|") && lines[index].trim()) {
    body.append(row(lines[index], "td"));
    index += 1;
  }
  const node = element("table", "", element("thead", "", row(lines[start], "th")), body);
  out.append(element("div", "table", node));
  return index;
}

/** Return a fragment for a piece of text inside a block. */
function inline(text, depth) {
  const out = document.createDocumentFragment();
  const found = new Map(); // the next place of a token, so that a text full of openings is not searched again and again
  const find = (token, from) => {
    const known = found.get(token);
    if (known !== undefined && (known === -1 || known >= from)) return known;
    const place = text.indexOf(token, from);
    found.set(token, place);
    return place;
  };
  let urlFrom = 0; // where the next address may begin
  let plain = 0; // where the text begins that is not in `out` yet
  let index = 0;
  const put = (start, end, node) => {
    if (start > plain) out.append(text.slice(plain, start));
    out.append(node);
    plain = index = end;
  };
  while (index < text.length) {
    const char = text[index];
    if (char === "`") {
      let run = 1;
      while (text[index + run] === "`") run += 1;
      const ticks = "`".repeat(run);
      let end = find(ticks, index + run);
      if (end !== -1 && text[end + run] !== "`") {
        const inside = text.slice(index + run, end);
        const isPadded = inside.startsWith(" ") && inside.endsWith(" ") && inside.trim() !== "";
        const trimmed = isPadded ? inside.slice(1, -1) : inside;
        put(index, end + run, element("code", "", trimmed));
      } else {
        index += run;
      }
    } else if (char === "\\" && /[!-/:-@[-`{-~]/.test(text[index + 1] ?? "")) {
      put(index, index + 2, text[index + 1]);
    } else if (char === "\n") {
      put(index, index + 1, element("br"));
    } else if ((char === "*" || char === "_" || char === "~") && depth < MAX_DEPTH) {
      if (!emphasis(text, index, depth, find, put)) index += 1;
    } else if (char === "[" && depth < MAX_DEPTH) {
      if (!link(text, index, depth, find, put)) index += 1;
    } else if (char === "h" && index >= urlFrom && depth < MAX_DEPTH && !/\w/.test(text[index - 1] ?? "")) {
      URL_TEXT.lastIndex = index;
      const found = URL_TEXT.exec(text)?.[0] ?? "";
      let length = found.length;
      while (URL_END.has(found[length - 1])) length -= 1;
      const url = found.slice(0, length);
      const node = url && anchor(url, url);
      urlFrom = index + found.length; // what is no address is not looked through again for another one
      if (node) put(index, index + url.length, node);
      else index += 1;
    } else {
      index += 1;
    }
  }
  if (plain < text.length) out.append(text.slice(plain));
  return out;
}

const EMPHASIS = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];

function emphasis(text, index, depth, find, put) {
  for (const [mark, name] of EMPHASIS) {
    if (!text.startsWith(mark, index)) continue;
    const begin = index + mark.length;
    if (!text[begin] || /\s/.test(text[begin])) continue;
    if (mark[0] === "_" && /\w/.test(text[index - 1] ?? "")) continue; // snake_case
    let end = find(mark, begin + 1);
    if (mark === "*" || mark === "**") {
      // "***both***": the inner pair closes first.
      while (end !== -1 && text[end + mark.length] === "*" && text[begin] === "*") end += 1;
    }
    if (end === -1 || /\s/.test(text[end - 1])) continue;
    if (mark[0] === "_" && /\w/.test(text[end + mark.length] ?? "")) continue;
    put(index, end + mark.length, element(name, "", inline(text.slice(begin, end), depth + 1)));
    return true;
  }
  return false;
}

function link(text, index, depth, find, put) {
  const middle = find("](", index + 1);
  if (middle === -1 || middle - index > MAX_LINK_CHARS) return false;
  let end = find(")", middle + 2);
  if (end === -1 || end - middle > MAX_LINK_CHARS) return false;
  if (text[end + 1] === ")" && text.slice(middle + 2, end).includes("(")) end += 1; // as in .../wiki/Claw_(tool)
  const label = text.slice(index + 1, middle);
  const node = anchor(text.slice(middle + 2, end).trim().split(/\s/)[0], null);
  if (!node || label.includes("[")) return false;
  node.append(inline(label, MAX_DEPTH)); // no links in links
  put(index, end + 1, node);
  return true;
}

/** Return a link, or null for what is not one to another page. */
function anchor(target, label) {
  let url;
  try {
    url = new URL(target);
  } catch {
    return null;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  const node = element("a", "", ...(label ? [label] : []));
  node.href = url.href;
  node.target = "_blank";
  node.rel = "noopener noreferrer";
  return node;
}

async function copyText(text, button) {
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // not over plain HTTP from another machine
    const field = element("textarea", "unseen");
    field.value = text;
    document.body.append(field);
    field.select();
    copied = document.execCommand("copy");
    field.remove();
  }
  button.textContent = copied ? "Copied" : "Not copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}
