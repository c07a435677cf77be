// The login of this browser: kept by the page, for this address and port only.
//
// A cookie would go to every port of the host, also to another user's server on the same machine.

const KEY = "miniclaw.login";
const BACK_KEY = "miniclaw.back";

let kept = ""; // where the browser keeps nothing: as long as the page is there

/** Return the login, or an empty text. */
export function login() {
  try {
    return localStorage.getItem(KEY) ?? kept;
  } catch {
    return kept;
  }
}

/** Keep a login. */
export function keepLogin(text) {
  kept = text;
  try {
    localStorage.setItem(KEY, text);
  } catch { /* forbidden */ }
}

/** Forget the login. */
export function forgetLogin() {
  kept = "";
  try {
    localStorage.removeItem(KEY);
  } catch { /* forbidden */ }
}

/** Return the headers by which a request shows the login. */
export function loginHeaders() {
  return login() ? { "miniclaw-login": login() } : {};
}

/** Return the subprotocols by which a websocket shows the login. */
export function loginProtocols() {
  return login() ? ["miniclaw", `miniclaw-login.${login()}`] : [];
}

/** Go to the page that asks for the token, and from there back here. A login that is refused now may be good later. */
export function toLogin() {
  try {
    sessionStorage.setItem(BACK_KEY, location.pathname + location.search);
  } catch { /* forbidden */ }
  location.replace("/login");
}

/** Go back to where `toLogin` was called. */
export function goBack() {
  let back = null;
  try {
    back = sessionStorage.getItem(BACK_KEY);
    sessionStorage.removeItem(BACK_KEY);
  } catch { /* forbidden */ }
  location.replace(back ?? "/");
}

/** Call this when another tab has logged in or out, with whether there is a login now. */
export function onLogin(call) {
  addEventListener("storage", (event) => {
    if (event.key === KEY) call(Boolean(event.newValue));
  });
}

/** Return the status of a small request: 401, where the login is none; 0, where no gateway answers. */
export async function status() {
  try {
    return (await fetch("/api/v1/gateway", { headers: loginHeaders() })).status;
  } catch {
    return 0;
  }
}
