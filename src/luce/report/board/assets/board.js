// Which view is shown: the table of runs, one run, or several beside each other.
"use strict";

import { ask, make, notice, Refused } from "/page.js";
import { runsView } from "/table.js";
import { runView } from "/run.js";
import { compareView } from "/compare.js";

const main = document.getElementById("main");
let shown = null; // the view on the screen; its `leave` ends its timers

async function go() {
  const route = /^#\/(run|compare)\/(.+)$/.exec(location.hash);
  if (location.hash && location.hash !== "#/" && !route) return; // a place on the page
  let view = "runs", paths = [];
  if (route) {
    try {
      paths = route[2].split("&").map(decodeURIComponent);
      view = route[1];
    } catch {
      view = "runs";
    }
  }
  shown?.leave();
  notice("");
  main.replaceChildren();
  shown = view === "run" ? runView(main, paths[0]) : view === "compare" ? compareView(main, paths) : runsView(main);
  scrollTo(0, 0);
}

async function enter() {
  const me = await ask("/api/me");
  if (me.known) return true;
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", "/");
  if (token && (await signIn(token, me.form))) return true;
  const field = make("input", { id: "token", type: "password", autocomplete: "off" });
  main.replaceChildren(
    make("form", { class: "enter", submit: async (event) => {
      event.preventDefault();
      if (await signIn(field.value.trim(), me.form)) start();
    } },
    make("label", { for: "token" }, "The token of this board, from the link that was printed"),
    field, make("button", {}, "Open")));
  return false;
}

async function signIn(token, form) {
  try {
    await ask("/api/sign-in", {}, {
      method: "POST",
      headers: { "content-type": "application/json", "x-luce-form": form },
      body: JSON.stringify({ token }),
    });
    notice("");
    return true;
  } catch (error) {
    notice(error instanceof Refused ? error.message : "The board does not answer.");
    return false;
  }
}

async function start() {
  if (await enter()) await go();
}

addEventListener("hashchange", go);
start().catch(() => notice("The board does not answer."));
