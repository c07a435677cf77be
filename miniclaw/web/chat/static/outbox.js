// What was written in a chat and is not known to be saved yet. It is kept by the browser, so that it survives a reload,
// and is sent again, with the same ids, after each reconnect. Tabs of the same chat share it.

export class Outbox {
  #prefix;
  #rest = new Map(); // what the browser would not keep

  constructor(chat) {
    this.#prefix = `miniclaw.unsaved.${encodeURIComponent(chat)}:`;
  }

  /** Keep a message; return its new id. */
  add(text) {
    const id = newId();
    const entry = { id, text, at: Date.now() };
    this.#rest.set(id, entry);
    try {
      localStorage.setItem(this.#prefix + id, JSON.stringify(entry));
    } catch { /* storage is full or forbidden: it is kept as long as the page is */ }
    return id;
  }

  has(id) {
    return this.entries().some((entry) => entry.id === id);
  }

  remove(id) {
    this.#rest.delete(id);
    try {
      localStorage.removeItem(this.#prefix + id);
    } catch { /* forbidden */ }
  }

  /** Return all that is kept, oldest first. */
  entries() {
    const found = new Map(this.#rest);
    try {
      for (let index = 0; index < localStorage.length; index += 1) {
        const key = localStorage.key(index);
        if (!key.startsWith(this.#prefix)) continue;
        const entry = parse(localStorage.getItem(key));
        if (entry) found.set(entry.id, entry);
      }
    } catch { /* forbidden */ }
    return [...found.values()].sort((one, other) => one.at - other.at || (one.id < other.id ? -1 : 1));
  }
}

function parse(text) {
  try {
    const entry = JSON.parse(text);
    return typeof entry.id === "string" && typeof entry.text === "string" ? entry : null;
  } catch {
    return null;
  }
}

let counter = 0;

function newId() {
  // In the order of their making, also within a millisecond; randomUUID() is not there over plain HTTP.
  counter += 1;
  const random = crypto.getRandomValues(new Uint32Array(3));
  const tail = Array.from(random, (number) => number.toString(36)).join("");
  return `${Date.now().toString(36)}-${String(counter).padStart(6, "0")}-${tail}`;
}
