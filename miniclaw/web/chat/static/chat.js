// The chat page: what is typed goes to the outbox and over the connection, what comes is shown in the log.

import { chatAddress, showChats } from "./chats.js";
import { Connection } from "./connection.js";
import { Log } from "./log.js";
import { forgetLogin, login, onLogin, status, toLogin } from "./login.js";
import { visible } from "./names.js";
import { Outbox } from "./outbox.js";

const MAX_CHARS = 100_000;
const MAX_FRAME_CHARS = 256 * 1024;
const NEAR_END_PX = 80;
const NEAR_START_PX = 300;
const SAVING_MS = 5000; // after the answer; beyond that the message is taken for not saved

const get = (id) => document.getElementById(id);
const scroll = get("scroll");
const field = get("text");

const chat = new URLSearchParams(location.search).get("chat") ?? "main";
const draftKey = `miniclaw.draft.${chat}`;
const outbox = new Outbox(chat);
const log = new Log(get("log"), { onSendAgain: send });
let isAtEnd = true;
let lastTop = 0;
let hasMore = false;
let isLoading = false;
let isListed = false; // this chat, at the side

// Frames -----------------------------------------------------------------------------------------------------------

const HANDLERS = {
  hello(frame) {
    get("model").textContent = frame.model;
    const sticks = isAtEnd;
    log.show(frame, outbox.entries());
    if (log.first === (frame.messages[0]?.index ?? 0)) hasMore = frame.more;
    isLoading = false;
    outbox.entries().forEach(({ id }) => send(id));
    if (sticks) toEnd();
    else afterChange();
    listChats();
  },

  history(frame) {
    const before = scroll.scrollHeight - scroll.scrollTop;
    log.prepend(frame.messages);
    hasMore = frame.more;
    isLoading = false;
    scroll.scrollTop = scroll.scrollHeight - before; // what was read stays where it was
    afterChange();
  },

  message(frame) {
    keepingPlace(() => log.taken(frame.id, frame.text));
  },

  saved(frame) {
    outbox.remove(frame.id);
    log.state(frame.id, "saved");
    if (!isListed) listChats();
  },

  delta(frame) {
    keepingPlace(() => log.delta(frame.to, frame.text));
  },

  reply(frame) {
    keepingPlace(() => log.reply(frame));
    if (frame.to && outbox.has(frame.to)) {
      setTimeout(() => outbox.has(frame.to) && keepingPlace(() => log.state(frame.to, "unsaved")), SAVING_MS);
    }
  },

  error(frame) {
    if (frame.id) {
      outbox.remove(frame.id);
      // An answer has given the reason already.
      keepingPlace(() => log.state(frame.id, "refused", log.hasAnswer(frame.id) ? "" : frame.detail));
    } else {
      showTrouble(frame.detail);
    }
  },
};

const STATES = { connecting: "connecting…", open: "connected", waiting: "reconnecting…", refused: "not connected" };

const address = new URL(`/api/v1/chat?chat=${encodeURIComponent(chat)}`, location.href);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
const connection = new Connection(address.href, {
  onFrame: (frame) => HANDLERS[frame.type]?.(frame),
  onState(state) {
    get("connection").dataset.state = state;
    get("connection").textContent = STATES[state];
    if (state !== "open") isLoading = false;
    if (state === "waiting") listChats(); // which goes to the login if there is none any more
  },
});

// Writing ----------------------------------------------------------------------------------------------------------

/** Send a message that is in the outbox, if the gateway can be reached; else the next hello does it. */
function send(id) {
  const entry = outbox.entries().find((other) => other.id === id);
  if (!entry || !connection.send({ type: "message", id, text: entry.text })) return;
  if (log.stateOf(id) === "unsaved") log.state(id, "sent");
}

function submit() {
  const text = field.value.replace(/\p{Surrogate}/gu, "\ufffd");
  if (!text.trim()) return;
  if ([...text].length > MAX_CHARS || JSON.stringify(text).length > MAX_FRAME_CHARS - 200) {
    showTrouble(`This message is too long; ${MAX_CHARS.toLocaleString()} characters can be sent at once.`);
    return;
  }
  showTrouble("");
  const id = outbox.add(text);
  log.write(id, text);
  send(id);
  field.value = "";
  fieldChanged();
  toEnd();
}

function fieldChanged() {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
  get("send").disabled = !field.value.trim();
  try {
    if (field.value) sessionStorage.setItem(draftKey, field.value);
    else sessionStorage.removeItem(draftKey);
  } catch { /* forbidden */ }
}

get("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
  field.focus();
});
field.addEventListener("input", fieldChanged);
field.addEventListener("keydown", (event) => {
  // Enter may also end the writing of a word in Chinese or Japanese.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  }
});

function showTrouble(text) {
  get("trouble").textContent = text;
  get("trouble").hidden = !text;
}

// The place in the conversation ------------------------------------------------------------------------------------

function toEnd() {
  isAtEnd = true;
  afterChange(); // first, for it may show or hide what takes room
  scroll.scrollTop = scroll.scrollHeight;
}

/** Change the log; who reads the newest goes on doing so, who reads something older is told that there is more. */
function keepingPlace(change) {
  const sticks = isAtEnd;
  change();
  if (sticks) {
    toEnd();
  } else {
    get("to-end-text").textContent = "New messages";
    afterChange();
  }
}

function afterChange() {
  get("empty").hidden = !log.isEmpty;
  get("earlier").hidden = !hasMore;
  get("to-end").hidden = isAtEnd;
}

function loadEarlier() {
  if (!hasMore || isLoading || log.first === null) return;
  isLoading = connection.send({ type: "history", before: log.first });
}

scroll.addEventListener("scroll", () => {
  const isNear = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_END_PX;
  // What has just grown is far from its end for a moment; only who scrolls up leaves it.
  isAtEnd = isNear || (isAtEnd && scroll.scrollTop >= lastTop);
  lastTop = scroll.scrollTop;
  if (isAtEnd) get("to-end-text").textContent = "Newest";
  get("to-end").hidden = isAtEnd;
  if (scroll.scrollTop < NEAR_START_PX) loadEarlier();
}, { passive: true });
get("log").addEventListener("grown", () => isAtEnd && toEnd());
new ResizeObserver(() => isAtEnd && toEnd()).observe(scroll); // the keyboard of a phone came or went
get("earlier").addEventListener("click", loadEarlier);
get("to-end").addEventListener("click", () => {
  toEnd();
  field.focus();
});

/** Bring the list of chats up to date. */
async function listChats() {
  isListed = await showChats(get("chats"), get("chats-note"), chat);
}

// The side ---------------------------------------------------------------------------------------------------------

function showSide(shown) {
  document.body.classList.toggle("side-shown", shown);
  get("shade").hidden = !shown;
  get("open-side").setAttribute("aria-expanded", String(shown));
  if (shown) get("close-side").focus();
}

get("open-side").addEventListener("click", () => showSide(true));
for (const id of ["close-side", "shade"]) {
  get(id).addEventListener("click", () => {
    showSide(false);
    get("open-side").focus();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.body.classList.contains("side-shown")) showSide(false);
});

get("new-chat").addEventListener("click", () => {
  const now = new Date();
  const two = (number) => String(number).padStart(2, "0");
  get("name").value = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())} `
    + `${two(now.getHours())}.${two(now.getMinutes())}.${two(now.getSeconds())}`;
  get("naming").showModal();
  get("name").select();
});
get("naming-cancel").addEventListener("click", () => get("naming").close());
get("naming-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = get("name").value.trim();
  if (name) location.href = chatAddress(name);
});

// ------------------------------------------------------------------------------------------------------------------

document.title = `${visible(chat)} - miniclaw`;
get("title").textContent = visible(chat);
try {
  field.value = sessionStorage.getItem(draftKey) ?? "";
} catch { /* forbidden */ }
fieldChanged();
if (matchMedia("(hover: hover)").matches) field.focus(); // on a phone it would bring up the keyboard
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) listChats();
});
onLogin((isIn) => isIn || toLogin());
get("log-out").hidden = !login();
get("log-out").addEventListener("click", () => {
  forgetLogin();
  toLogin();
});
// Where a login is missing, this is known before anything fails.
if (!login() && await status() === 401) toLogin();
else connection.connect();
