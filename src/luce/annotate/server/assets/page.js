// What the page does: sign in, show a task, take the answer, save it, go on.

import { letter, make, prompt, responses, said } from "/view.js";

const $ = (id) => document.getElementById(id);
const RETRY_MS = 1500;
let me = null;
let task = null;
let last = null;
let view = "formatted";
let pieces = null;
let answer = null;
let busy = false;

class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

async function ask(path, body) {
  const request = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Luce-Form": me.form },
    body: JSON.stringify(body),
  };
  const reply = await fetch(`/api/${path}`, { ...request, credentials: "same-origin" });
  const found = await reply.json();
  if (!reply.ok) throw new Refused(reply.status, found.error);
  return found;
}

// An answer that is lost on the way is asked for again: a vote keeps its key, so it counts once.
async function insist(path, body) {
  for (;;) {
    try {
      const found = await ask(path, body);
      notice(null);
      return found;
    } catch (error) {
      if (error instanceof Refused) throw error;
      notice("Not saved yet: the server does not answer. Trying again …");
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

// One thing at a time; what goes wrong is shown and nothing is taken for saved.
async function doing(work) {
  if (busy) return;
  busy = true;
  document.body.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401 || error.status === 403) await begin();
    else if (error.status === 409 || error.status === 404) await load();
    notice(error.message);
  } finally {
    busy = false;
    document.body.removeAttribute("aria-busy");
    refresh();
  }
}

function notice(words) {
  $("notice").hidden = !words;
  $("notice").textContent = words || "";
}

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function begin() {
  me = await insist("me");
  const given = new URLSearchParams(location.hash.slice(1));
  if (location.hash) history.replaceState(null, "", location.pathname);
  if (given.get("token")) {
    $("sign-token").value = given.get("token");
    $("sign-name").value = given.get("name") || "";
    if (given.get("name") && given.get("name") !== me.name) {
      me = await ask("sign-in", { name: given.get("name"), token: given.get("token") });
    }
  }
  if (me.name) return load();
  task = null;
  show();
  $("sign-name").focus();
}

async function load() {
  const found = await insist("next", {});
  task = found.task;
  last = found.last;
  pieces = null;
  answer = fresh(task);
  $("count").textContent = `${found.done} done, ${found.left} to go`;
  $("bar").max = Math.max(1, found.done + found.left);
  $("bar").value = found.done;
  show();
  if (task && view === "differences") await compare();
  window.scrollTo(0, 0);
}

function fresh(of) {
  const before = of && of.before;
  const found = { key: newKey(), kind: null, order: [], strength: null, comment: "", ratings: {} };
  if (!before) return found;
  found.comment = before.comment;
  found.strength = before.strength;
  found.ratings = before.ratings;
  if (before.kind === "ranked") {
    const worst = Math.max(...before.ranks);
    found.kind = "ranked";
    found.order = before.ranks.map((rank, place) => [rank, place])
      .sort((a, b) => a[0] - b[0]).filter(([rank]) => rank < worst).map(([, place]) => place);
  } else if (before.kind !== "skip") found.kind = before.kind;
  return found;
}

// Who was named is ranked in that order; the others tie behind.
function ranks() {
  const n = task.responses.length;
  if (answer.kind !== "ranked") return answer.kind === "skip" ? [] : Array(n).fill(1);
  return task.responses.map((_, place) => {
    const at = answer.order.indexOf(place);
    return (at < 0 ? answer.order.length : at) + 1;
  });
}

function choose(place) {
  if (!task || busy) return;
  const n = task.responses.length;
  if (n === 2) answer.order = [place];
  else if (answer.order.includes(place)) answer.order = answer.order.filter((p) => p !== place);
  else if (answer.order.length < n - 1) answer.order = [...answer.order, place];
  answer.kind = answer.order.length ? "ranked" : null;
  if (answer.kind === null) answer.strength = null;
  refresh();
}

function judge(kind) {
  if (!task || busy) return;
  answer.kind = kind;
  answer.order = [];
  answer.strength = null;
  refresh();
}

function strengthen(value) {
  if (!task || busy || answer.kind !== "ranked") return;
  answer.strength = answer.strength === value ? null : value;
  refresh();
}

function save() {
  if (!task || !answer.kind) return;
  doing(async () => {
    await insist("vote", {
      key: answer.key, task: task.number, kind: answer.kind, ranks: ranks(),
      strength: answer.strength, ratings: ratings(), comment: $("comment").value,
    });
    await load();
  });
}

function ratings() {
  const found = {};
  if (answer.kind === "skip") return found;
  for (const name of me.dimensions) {
    const given = task.responses.map((_, place) => {
      const box = [...document.querySelectorAll("fieldset.grades")].find((f) =>
        f.dataset.dimension === name && Number(f.dataset.place) === place);
      const checked = box.querySelector("input:checked");
      return checked ? Number(checked.value) : null;
    });
    if (given.some((grade) => grade !== null)) found[name] = given;
  }
  return found;
}

function undo() {
  if (last === null) return;
  doing(async () => {
    await insist("undo", { vote: last });
    await load();
  });
}

function skip() {
  if (!task || busy) return;
  judge("skip");
  save();
}

async function compare() {
  const found = await insist("differences", { task: task.number });
  pieces = found.pieces;
  draw();
}

function look(wanted) {
  if (!task || busy) return;
  if (wanted === "differences" && task.responses.length !== 2) return;
  view = view === wanted ? "formatted" : wanted;
  if (view === "differences" && !pieces) doing(compare);
  else draw();
}

function show() {
  const known = Boolean(me.name);
  $("sign-in").hidden = known;
  $("token-label").hidden = !me.needs_token;
  $("who").hidden = $("progress").hidden = !known;
  $("name").textContent = me.name;
  $("task").hidden = $("answer").hidden = !task;
  $("done").hidden = !known || Boolean(task);
  $("answer").hidden = !known || (!task && last === null);
  $("show-results").hidden = !me.adjudicates;
  if (!task) {
    $("choices").replaceChildren();
    $("strengths").replaceChildren();
    refresh();
    return;
  }
  const n = task.responses.length;
  const many = n > 2 ? "All" : "Both";
  $("choices").replaceChildren(
    ...task.responses.map((_, place) => button(n > 2 ? letter(place) : `${letter(place)} better`,
      n > 2 ? (place < 9 ? String(place + 1) : "") : letter(place),
      () => choose(place), { "data-choice": place })),
    button(n > 2 ? "All equal" : "Tie", "T", () => judge("tie"), { "data-kind": "tie" }),
    button(`${many} bad`, "X", () => judge("bad"), { "data-kind": "bad" }));
  $("strengths").replaceChildren(...me.strengths.map((words, at) =>
    button(words, "QWE"[at], () => strengthen(at + 1), { "data-strength": at + 1 })));
  $("comment").value = answer.comment;
  $("comment-box").open = answer.comment !== "";
  $("view-differences").hidden = n !== 2;
  $("others").hidden = !task.adjudicates;
  $("others").replaceChildren(make("p", {}, "The others disagree. They said:"),
    make("ul", {}, ...task.others.map(said)));
  $("asked").open = true;
  draw();
}

function button(words, key, act, data) {
  const made = make("button", { type: "button", "aria-pressed": "false", ...data }, words,
    ...(key ? [" ", make("kbd", {}, key)] : []));
  made.addEventListener("click", act);
  return made;
}

function draw() {
  const kept = $("responses").childElementCount && answer.drawn ? ratings() : answer.ratings;
  $("prompt").replaceChildren(...prompt(task.prompt, view === "formatted" ? view : "plain"));
  $("responses").className = task.responses.length === 2 ? "two" : "many";
  $("responses").replaceChildren(...responses(task, view, pieces, me.dimensions));
  answer.drawn = true;
  for (const box of document.querySelectorAll("fieldset.grades")) {
    const grade = (kept[box.dataset.dimension] || [])[Number(box.dataset.place)];
    for (const input of box.querySelectorAll("input")) input.checked = Number(input.value) === grade;
  }
  for (const each of document.querySelectorAll("[data-view]")) {
    each.setAttribute("aria-pressed", String(each.dataset.view === view));
  }
  refresh();
}

function refresh() {
  const pressed = (node, yes) => node.setAttribute("aria-pressed", String(yes));
  $("undo").disabled = busy || last === null;
  $("save").disabled = busy || !task || !answer.kind;
  $("save").hidden = $("skip").hidden = $("more").hidden = !task;
  if (!task) return;
  const given = answer.kind === "ranked" ? ranks() : [];
  for (const node of document.querySelectorAll("[data-choice]")) {
    pressed(node, answer.order.includes(Number(node.dataset.choice)));
  }
  for (const node of document.querySelectorAll("[data-kind]")) {
    pressed(node, answer.kind === node.dataset.kind);
  }
  for (const node of document.querySelectorAll("[data-strength]")) {
    pressed(node, answer.strength === Number(node.dataset.strength));
    node.disabled = answer.kind !== "ranked";
  }
  for (const node of document.querySelectorAll(".response")) {
    const place = Number(node.dataset.place);
    const rank = given[place];
    node.classList.toggle("best", rank === 1);
    node.querySelector(".rank").textContent =
      rank === undefined ? "" : given.length === 2 ? (rank === 1 ? "better" : "") : `rank ${rank}`;
  }
}

const KEYS = {
  t: () => judge("tie"), x: () => judge("bad"), s: skip, u: undo,
  m: () => look("plain"), d: () => look("differences"),
  q: () => strengthen(1), w: () => strengthen(2), e: () => strengthen(3),
  c: () => { if (task) { $("comment-box").open = true; $("comment").focus(); } },
};

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.metaKey || !me || !me.name) return;
  const field = event.target;
  if (field.id === "comment") {
    if (event.key === "Escape") field.blur();
    if (event.key === "Enter" && event.ctrlKey) save();
    return;
  }
  if (event.ctrlKey || event.repeat || $("answer").hidden) return;
  const key = event.key.toLowerCase();
  if (field.type === "radio" && key.startsWith("arrow")) return;
  if (key === "enter" && ["BUTTON", "SUMMARY"].includes(field.tagName)) return;
  const pair = task && task.responses.length === 2;
  if (key === "enter") save();
  else if (/^[1-9]$/.test(key)) {
    if (task && Number(key) <= task.responses.length) choose(Number(key) - 1);
  } else if (pair && (key === "a" || key === "arrowleft")) choose(0);
  else if (pair && (key === "b" || key === "arrowright")) choose(1);
  else if (Object.hasOwn(KEYS, key)) KEYS[key]();
  else return;
  event.preventDefault();
});

// A button that was clicked with a mouse does not keep Enter for itself: Enter saves.
document.addEventListener("click", (event) => {
  const clicked = event.detail > 0 && event.target.closest("button, summary");
  if (clicked) clicked.blur();
});

$("answer").addEventListener("submit", (event) => { event.preventDefault(); save(); });
$("undo").addEventListener("click", undo);
$("skip").addEventListener("click", skip);
for (const each of document.querySelectorAll("[data-view]")) {
  each.addEventListener("click", () => {
    if (view !== each.dataset.view) look(each.dataset.view);
  });
}
$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  doing(async () => {
    const given = { name: $("sign-name").value, token: $("sign-token").value };
    try {
      me = await insist("sign-in", given);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 401) throw error;
      notice(error.message);
      return;
    }
    await load();
  });
});
$("sign-out").addEventListener("click", () => doing(async () => {
  me = await insist("sign-out", {});
  $("results").hidden = true;
  await begin();
}));
$("show-results").addEventListener("click", () => doing(async () => {
  const found = await insist("agreement", {});
  $("lines").textContent = found.lines.join("\n");
  $("results").hidden = false;
  $("results").scrollIntoView();
}));

doing(begin);
