// The login page: takes the code of a one-time link, or the token, for a login.

import { goBack, keepLogin, login, onLogin, status } from "./login.js";

const get = (id) => document.getElementById(id);

/** Ask for a login; return whether there is one. An error is shown. */
async function ask(order) {
  let answer;
  try {
    answer = await fetch("/login", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(order),
    });
  } catch {
    show("The gateway does not answer. Is it running?");
    return false;
  }
  if (answer.status === 404 || answer.status === 405) return true; // no login is needed here
  const document = await answer.json().catch(() => ({}));
  if (answer.ok) keepLogin(document.login);
  else if (answer.status === 410) get("spent").hidden = false;
  else if (answer.status === 401) show("That is not the token.");
  else show(document.detail ?? answer.statusText);
  return answer.ok;
}

function show(text) {
  get("trouble").textContent = text;
  get("trouble").hidden = !text;
}

get("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  show("");
  get("spent").hidden = true;
  if (await ask({ token: get("token").value.trim() })) goBack();
  else get("token").select();
});

/** Take the code out of the address, and use it; a browser that is let in without it keeps it for another. */
async function begin() {
  const code = location.hash.slice(1);
  if (code) history.replaceState(null, "", location.pathname);
  if ((login() || !code) && await status() === 200) goBack();
  else if (code && await ask({ code })) goBack();
  else get("card").hidden = false;
}

onLogin((isIn) => isIn && goBack());
addEventListener("hashchange", begin); // a link that is opened in this very tab
begin();
