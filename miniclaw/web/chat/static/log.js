// The conversation as it is shown: the session's messages, then what waits for an answer, then what is not sent yet.
// A message is known by its id and an answer by the id of what it answers, so nothing is shown twice however often it
// is told.

import { renderMarkdown } from "./markdown.js";
import { visible } from "./names.js";

const STATES = {
  sending: ["Sending…", "◷"],
  sent: ["Not saved yet", "◷"],
  saved: ["Saved", "✓"],
  unsaved: ["Not saved", "!"],
  refused: ["Not sent", "!"],
};

export class Log {
  #list;
  #onSendAgain;
  #people = new Map(); // id -> list item of a person's message
  #answers = new Map(); // id of what is answered -> Answer
  #waiting = []; // ids of messages that were taken and are not answered, oldest first
  first = null; // index of the oldest message that is shown

  constructor(list, { onSendAgain }) {
    this.#list = list;
    this.#onSendAgain = onSendAgain;
  }

  get isEmpty() {
    return this.#list.childElementCount === 0;
  }

  /** Show what a hello says, and then what is not sent yet; what was shown of older messages stays. */
  show(hello, unsaved) {
    const oldest = hello.messages.length ? hello.messages[0].index : 0;
    let joins = false;
    for (const node of [...this.#list.children]) {
      const index = node.dataset.index === undefined ? null : Number(node.dataset.index);
      if (index !== null && index < oldest) joins ||= index === oldest - 1;
      else node.remove();
    }
    if (!joins) this.#list.replaceChildren();
    for (const map of [this.#people, this.#answers]) {
      for (const [id, entry] of map) if (!(entry.node ?? entry).isConnected) map.delete(id);
    }
    this.first = this.isEmpty ? oldest : Number(this.#list.firstElementChild.dataset.index);
    this.#list.append(...this.#old(hello.messages));
    this.#waiting = [];
    for (const said of hello.waiting) this.taken(said.id, said.text);
    for (const { id, text, at } of unsaved) {
      if (!this.#people.has(id)) this.write(id, text, at);
      else this.state(id, "sent");
    }
    if (hello.now) this.delta(hello.now.to, hello.now.text);
    this.#think();
  }

  /** Show older messages before all others. */
  prepend(messages) {
    const older = messages.filter((message) => this.first === null || message.index < this.first);
    if (!older.length) return;
    this.#list.prepend(...this.#old(older));
    this.first = older[0].index;
  }

  /** Show what the person here has just written. */
  write(id, text, at = Date.now()) {
    const node = this.#person(id, text, new Date(at));
    node.dataset.unsent = "";
    this.#list.append(node);
    this.state(id, "sending");
  }

  /** Show that a message was taken by the gateway, from here or from elsewhere. */
  taken(id, text) {
    if (this.#waiting.includes(id)) return;
    const known = this.#people.get(id);
    if (known && known.dataset.unsent === undefined) {
      if (!this.#answers.has(id)) this.#waiting.push(id);
      this.#think();
      return;
    }
    this.#waiting.push(id);
    const node = known ?? this.#person(id, text, new Date());
    delete node.dataset.unsent;
    // Behind what was taken before it, and before what is not sent yet.
    const unsent = [...this.#list.children].find((other) => other !== node && other.dataset.unsent !== undefined);
    if (unsent && !(known && node.compareDocumentPosition(unsent) & Node.DOCUMENT_POSITION_FOLLOWING)) {
      unsent.before(node);
    } else if (!known) {
      this.#list.append(node);
    }
    this.state(id, "sent");
    this.#think();
  }

  /** Show how far a person's message has come: sending, sent, saved, unsaved or refused. */
  state(id, state, detail = "") {
    const node = this.#people.get(id);
    if (!node) return;
    const [words, sign] = STATES[state];
    const mark = node.querySelector(".state");
    node.dataset.state = state;
    mark.textContent = sign;
    mark.title = words;
    mark.setAttribute("aria-label", words);
    node.querySelector(".more")?.remove();
    if (state === "unsaved" || state === "refused") {
      const more = element("div", "more", detail || words);
      if (state === "unsaved") {
        const button = element("button", "", "Send again");
        button.type = "button";
        button.addEventListener("click", () => this.#onSendAgain(id));
        more.append(" ", button);
      }
      node.append(more);
    }
  }

  stateOf(id) {
    return this.#people.get(id)?.dataset.state ?? null;
  }

  /** Return whether an answer to a message is shown. */
  hasAnswer(id) {
    return this.#answers.has(id);
  }

  /** Show the next piece of an answer. */
  delta(to, text) {
    this.#answer(to).add(text);
  }

  /** Show a whole answer in the place of all that was shown of it. */
  reply(frame) {
    this.#waiting = this.#waiting.filter((id) => id !== frame.to);
    this.#answer(frame.to).finish(frame.text, frame.failed);
    this.#think();
  }

  #answer(to) {
    let answer = this.#answers.get(to);
    if (!answer) {
      answer = new Answer();
      const asked = this.#people.get(to);
      if (asked) asked.after(answer.node);
      else this.#list.append(answer.node);
      if (to) this.#answers.set(to, answer);
    }
    if (!answer.node.isConnected) this.#list.append(answer.node);
    this.#list.querySelector(".thinking")?.remove();
    return answer;
  }

  /** Show three dots behind the message that is being answered, until the answer begins. */
  #think() {
    this.#list.querySelector(".thinking")?.remove();
    const id = this.#waiting[0];
    if (id === undefined || this.#answers.has(id)) return;
    const dots = element("div", "dots", element("i"), element("i"), element("i"));
    dots.setAttribute("aria-label", "The answer is on its way");
    dots.setAttribute("role", "img");
    this.#people.get(id)?.after(element("li", "message assistant thinking", dots));
  }

  #person(id, text, at) {
    const state = element("span", "state");
    state.setAttribute("role", "img");
    const node = element("li", "message person", bubble(text), element("div", "meta", clock(at), state));
    if (id) {
      node.dataset.id = id;
      this.#people.set(id, node);
    }
    return node;
  }

  /** Return list items for messages of the session. */
  #old(messages) {
    const nodes = [];
    let asked = null;
    for (const message of messages) {
      const at = new Date(message.at);
      let node;
      if (message.role === "user") {
        if (message.id && this.#people.get(message.id)?.isConnected) continue;
        node = this.#person(message.id, message.content, at);
        if (message.id) this.state(message.id, "saved");
        asked = message.id ?? null;
      } else {
        node = message.role === "assistant" ? assistant(message, at) : aside(message);
        // If a reply to it still comes, it stands for these.
        if (asked && !this.#answers.has(asked)) this.#answers.set(asked, new Answer(node));
        else if (asked) this.#answers.get(asked).others.push(node);
      }
      node.dataset.index = message.index;
      nodes.push(node);
    }
    return nodes;
  }
}

/** An answer that is being produced, or was. */
class Answer {
  #text = "";
  #body;
  #scheduled = false;
  #costMs = 0; // of the last rendering
  #isWhole = false; // what comes after it is another answer, to the message sent again
  others = []; // what else of the session belongs to it

  constructor(node = null) {
    this.node = node ?? element("li");
    if (node) this.#isWhole = true;
    else this.#begin();
  }

  add(text) {
    if (this.#isWhole) this.#begin();
    this.#text += text;
    if (this.#scheduled) return;
    this.#scheduled = true;
    // A long answer is not rendered for every word: at most a tenth of the time goes into it.
    setTimeout(() => requestAnimationFrame(() => this.#render()), Math.min(1000, this.#costMs * 10));
    if (document.hidden) this.#render(); // there are no animation frames in a tab that is not seen
  }

  finish(text, failed) {
    this.#begin();
    this.#isWhole = true;
    this.#text = text;
    this.node.classList.toggle("failed", failed);
    this.node.append(element("div", "meta", clock(new Date())));
    this.#render();
    this.node.removeAttribute("aria-busy");
  }

  #begin() {
    this.#isWhole = false;
    this.#text = "";
    for (const node of this.others) node.remove();
    this.others = [];
    delete this.node.dataset.index; // its place in the session is the business of the next hello
    this.node.className = "message assistant";
    this.#body = element("div", "text");
    this.node.replaceChildren(this.#body);
    this.node.setAttribute("aria-busy", "true"); // is read aloud once it is complete
  }

  #render() {
    this.#scheduled = false;
    const began = performance.now();
    this.#body.replaceChildren(renderMarkdown(this.#text));
    this.#costMs = performance.now() - began;
    this.node.dispatchEvent(new Event("grown", { bubbles: true }));
  }
}

function assistant(message, at) {
  const node = element("li", "message assistant");
  if (message.content) node.append(element("div", "text", renderMarkdown(message.content)));
  for (const call of message.tool_calls ?? []) node.append(tool(`${visible(call.name)}(…)`, call.arguments));
  node.append(element("div", "meta", clock(at)));
  return node;
}

/** Return what is no part of the talk: a mark that an answer was cut short, or a tool's result. */
function aside(message) {
  if (message.role === "tool_result") return element("li", "aside", tool("Result of a tool", message.content));
  const text = message.content.replace(/^\[interrupted\] /, "Interrupted: ");
  return element("li", "aside", element("p", "note", text));
}

function tool(title, text) {
  const summary = element("summary", "", title);
  return element("details", "tool", summary, element("pre", "", text));
}

function bubble(text) {
  return element("div", "text plain", text);
}

function clock(at) {
  const today = new Date().toDateString() === at.toDateString();
  const time = { hour: "2-digit", minute: "2-digit" };
  const node = element("time", "", at.toLocaleString([], today ? time : { dateStyle: "medium", timeStyle: "short" }));
  node.dateTime = at.toISOString();
  node.title = at.toLocaleString();
  return node;
}

function element(name, className = "", ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}
