// The websocket to the gateway: connects, and connects again, until it is refused for good.

import { loginProtocols } from "./login.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const SILENCE_MS = 20_000; // after a message was sent and nothing at all has come since
const POLICY = 1008;

export class Connection {
  #url;
  #onFrame;
  #onState;
  #socket = null;
  #isReady = false; // the gateway has said hello
  #failures = 0;
  #timer = null;
  #silence = null;

  /** onFrame is given each frame; onState "connecting", "open", "waiting" or "refused". */
  constructor(url, { onFrame, onState }) {
    this.#url = url;
    this.#onFrame = onFrame;
    this.#onState = onState;
    addEventListener("online", () => this.#hurry());
    addEventListener("offline", () => this.#lost());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#hurry();
    });
  }

  connect() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#onState(this.#failures ? "waiting" : "connecting");
    const socket = new WebSocket(this.#url, loginProtocols());
    this.#socket = socket;
    socket.addEventListener("message", (event) => {
      if (socket !== this.#socket) return;
      clearTimeout(this.#silence);
      for (const frame of [JSON.parse(event.data)].flat()) {
        if (frame.type === "hello") {
          this.#failures = 0;
          this.#isReady = true;
          this.#onState("open");
        }
        this.#onFrame(frame);
      }
    });
    socket.addEventListener("close", (event) => {
      if (socket !== this.#socket) return;
      if (event.code === POLICY) {
        this.#socket = null;
        this.#isReady = false;
        this.#onState("refused");
      } else {
        this.#lost();
      }
    });
  }

  get isOpen() {
    return this.#isReady && this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Send a frame; return whether it was. */
  send(frame) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(frame));
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(), SILENCE_MS);
    return true;
  }

  #lost() {
    clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#socket = null;
    this.#isReady = false;
    socket?.close(); // the end of a dead connection is not waited for
    this.#failures += 1;
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failures - 1));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.connect(), pause * (0.5 + Math.random() / 2));
    this.#onState("waiting");
  }

  /** Connect at once where the next attempt is still to come. */
  #hurry() {
    if (this.#timer !== null) this.connect();
  }
}
