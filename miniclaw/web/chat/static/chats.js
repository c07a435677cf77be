// The list of chats at the side.

import { loginHeaders, toLogin } from "./login.js";
import { visible } from "./names.js";

const UNITS = [["year", 31_536_000], ["month", 2_592_000], ["week", 604_800], ["day", 86_400], ["hour", 3600],
  ["minute", 60]];

/** Show the chats; the one that is open is among them. Return whether it has a session yet, as far as is known. */
export async function showChats(list, note, current) {
  let sessions = [];
  let problem = "";
  try {
    const headers = { accept: "application/json", ...loginHeaders() };
    const response = await fetch("/api/v1/sessions?channel=web&limit=50", { headers });
    if (response.status === 401) toLogin(); // the login has run out, or the token is another one
    if (!response.ok) throw new Error(response.statusText);
    sessions = (await response.json()).sessions;
    sessions.sort((one, other) => new Date(other.last_accessed) - new Date(one.last_accessed));
  } catch {
    problem = "Other chats cannot be listed right now.";
  }
  const rows = sessions.map((session) => row(session.chat_id, new Date(session.last_accessed), current));
  const isListed = sessions.some((session) => session.chat_id === current);
  if (!isListed) rows.unshift(row(current, null, current));
  list.replaceChildren(...rows);
  note.textContent = problem;
  note.hidden = !problem;
  return isListed || Boolean(problem);
}

export function chatAddress(chat) {
  return `/?chat=${encodeURIComponent(chat)}`;
}

function row(chat, at, current) {
  const link = document.createElement("a");
  link.href = chatAddress(chat);
  if (chat === current) link.setAttribute("aria-current", "page");
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = visible(chat);
  link.append(name);
  if (at) {
    const time = document.createElement("time");
    time.dateTime = at.toISOString();
    time.textContent = ago(at);
    link.append(time);
  }
  const item = document.createElement("li");
  item.append(link);
  return item;
}

function ago(at) {
  const seconds = (at - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, size]) => -seconds >= size) ?? [null, 1];
  if (unit === null) return "now";
  return new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" }).format(
    Math.trunc(seconds / length), unit);
}
