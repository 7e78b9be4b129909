// The table of runs: sorted, filtered, chosen for comparison; read again while it is looked at.
"use strict";

import { address, ask, make, notice, number, title, whole } from "/page.js";

const COLUMNS = [
  ["name", "Run", (row) => row.name.toLowerCase()],
  ["state", "State", (row) => row.state],
  ["objective", "Objective", (row) => row.objective || ""],
  ["win_rate", "Win rate", (row) => row.win_rate?.value],
  ["accuracy", "Held-out accuracy", (row) => row.accuracy?.value],
  ["kl", "KL, nats", (row) => row.kl?.value],
  ["length", "Length, tokens", (row) => row.length?.value],
  ["step", "Step", (row) => row.step ?? row.rounds],
  ["written", "Last written", (row) => row.written || ""],
];
const NUMBERS = new Set(["win_rate", "accuracy", "kl", "length", "step"]);
const STATES = ["running", "finished", "failed", "stopped", "damaged"];
const MOST = 8;

// what the reader chose outlives a visit to another view
const chosen = { sort: "written", down: true, filter: "", state: "", marked: new Set(), open: new Set() };

export function runsView(main) {
  let runs = [], tag = "", timer = 0, left = false, folder = "", first = true;

  const filter = make("input", { id: "filter", type: "search", autocomplete: "off", value: chosen.filter,
    input: () => { chosen.filter = filter.value; rows(); } });
  const state = make("select", { id: "state", change: () => { chosen.state = state.value; rows(); } },
    make("option", { value: "" }, "any state"), STATES.map((name) => make("option", { value: name }, name)));
  state.value = chosen.state;
  const count = make("span", { role: "status", class: "soft" });
  const compare = make("button", { type: "button", disabled: true,
    click: () => { location.hash = address("compare", ...chosen.marked); } });
  const none = make("button", { type: "button", class: "plain", hidden: true,
    click: () => { chosen.marked.clear(); rows(); } }, "Choose none");
  const heads = COLUMNS.map(([key, words]) => {
    const button = make("button", { type: "button", click: () => {
      chosen.down = chosen.sort === key ? !chosen.down : NUMBERS.has(key) || key === "written";
      chosen.sort = key;
      rows();
    } }, words);
    return make("th", { scope: "col", role: "columnheader", class: NUMBERS.has(key) ? "n" : null }, button);
  });
  const body = make("tbody", { role: "rowgroup" });
  const empty = make("p", { hidden: true });
  main.append(make("section", { "aria-label": "Runs" },
    make("div", { class: "search", role: "search" },
      make("label", { for: "filter" }, "Filter"), filter,
      make("label", { for: "state" }, "State"), state, count),
    make("p", { class: "choice" }, compare, none),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of runs" },
      make("table", { class: "runs", role: "table" },
        make("caption", {}, "Below each number its 95 % interval. Choose two runs or more to compare them."),
        make("thead", { role: "rowgroup" }, make("tr", { role: "row" },
          make("th", { scope: "col", role: "columnheader" }, make("span", { class: "unseen" }, "Choose")), heads)),
        body)),
    empty));

  function rows() {
    const words = chosen.filter.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const kept = runs.filter((row) => {
      if (chosen.state && row.state !== chosen.state) return false;
      const text = [row.shown, row.name, row.headline, row.objective, row.kind].join(" ").toLocaleLowerCase();
      return words.every((word) => text.includes(word));
    });
    const of = COLUMNS.find(([key]) => key === chosen.sort)[2];
    kept.sort((a, b) => order(of(a), of(b), chosen.down) || a.shown.localeCompare(b.shown));
    const narrowed = words.length > 0 || chosen.state !== "";
    const listed = grouped(runs, kept, narrowed);
    COLUMNS.forEach(([key], i) => {
      const sorted = key === chosen.sort;
      heads[i].setAttribute("aria-sort", !sorted ? "none" : chosen.down ? "descending" : "ascending");
    });
    const focus = document.activeElement?.dataset?.path;
    body.replaceChildren(...listed.map(line));
    if (focus) body.querySelector(`[data-path="${CSS.escape(focus)}"]`)?.focus();
    const [some, all] = [kept, runs].map((these) => these.filter((row) => row.kind !== "sweep").length);
    count.textContent = some === all ? `${all} runs` : `${some} of ${all} runs`;
    empty.hidden = kept.length > 0;
    empty.textContent = runs.length ? "No run is like that." : first ? "Reading …" : "No run is in this folder yet. The page finds them as they come.";
    marked();
  }

  function marked() {
    const n = chosen.marked.size;
    compare.disabled = n < 2 || n > MOST;
    compare.textContent = n > MOST ? `Compare: at most ${MOST}` : n < 2 ? "Compare: choose two runs" : `Compare ${n} runs`;
    none.hidden = n === 0;
  }

  function line(row) {
    const usable = row.path !== "" && row.state !== "damaged";
    const box = row.kind === "lab" || !usable ? null : make("input", { type: "checkbox", "data-path": row.path,
      "aria-label": `Choose ${row.shown}`, change: () => {
        box.checked ? chosen.marked.add(row.path) : chosen.marked.delete(row.path);
        marked();
      } });
    if (box) box.checked = chosen.marked.has(row.path);
    const sweep = row.kind === "sweep" && usable;
    const report = usable && row.state === "finished";
    const target = sweep ? "/sweep?" + new URLSearchParams({ run: row.path })
      : report ? "/report?" + new URLSearchParams({ run: row.path }) : address("run", row.path);
    const name = usable ? make("a", { href: target }, row.name) : row.name;
    const state = row.kind === "lab" ? (row.passed ? "passed" : "not passed") : row.state || "–";
    return make("tr", { role: "row", class: row.sweep ? "member" : null },
      make("td", { role: "cell", class: "pick" }, sweep ? fold(row) : box),
      make("th", { role: "rowheader", scope: "row" }, name,
        make("span", { class: "soft path" }, row.shown),
        make("span", { class: "told" }, whole(row.error || row.headline))),
      cell("State", make("span", { class: "tag " + state.replace(" ", "-") }, state)),
      cell("Objective", row.kind === "lab" ? "lab" : row.objective || "–"),
      figure("Win rate", row.win_rate), figure("Held-out accuracy", row.accuracy),
      figure("KL, nats", row.kl), figure("Length, tokens", row.length),
      cell("Step", steps(row), "n"),
      cell("Last written", row.written ? when(row.written) : "–", "when"));
  }

  // The button that shows or hides the runs of a sweep.
  function fold(row) {
    const open = chosen.open.has(row.path);
    return make("button", { type: "button", class: "plain", "data-path": row.path, "aria-expanded": String(open),
      "aria-label": `Runs of ${row.shown}`, click: () => {
        open ? chosen.open.delete(row.path) : chosen.open.add(row.path);
        rows();
      } }, open ? "▾" : "▸");
  }

  async function read() {
    clearTimeout(timer);
    let wait = 4000;
    if (!document.hidden) {
      try {
        const found = await ask("/api/runs", { seen: tag });
        if (left) return;
        notice("");
        tag = found.tag;
        if (!found.unchanged) {
          runs = found.runs;
          if (folder !== found.folder) title((folder = found.folder));
          first = found.pending > 0;
          rows();
        }
        if (found.pending) {
          notice(`Reading: ${found.pending} runs are left.`);
          wait = 0;
        }
      } catch (error) {
        if (left) return;
        notice(error.status === 401 ? error.message : "The board does not answer. It is asked again.");
      }
    }
    timer = setTimeout(read, wait);
  }

  const seen = () => { if (!document.hidden) read(); };
  document.addEventListener("visibilitychange", seen);
  title("Runs");
  rows();
  read();
  return { leave() { left = true; clearTimeout(timer); document.removeEventListener("visibilitychange", seen); } };
}

// The runs of a sweep stand below it, where it is unfolded or one of them is searched for.
function grouped(runs, kept, narrowed) {
  const below = new Map(runs.filter((row) => row.kind === "sweep" && row.path).map((row) => [row.path, []]));
  const held = new Set(kept.map((row) => row.sweep).filter(Boolean));
  const first = kept.concat(runs.filter((row) => held.has(row.path) && !kept.includes(row)));
  for (const row of kept) below.get(row.sweep)?.push(row);
  return first.filter((row) => !below.has(row.sweep)).flatMap((row) =>
    [row, ...(narrowed || chosen.open.has(row.path) ? below.get(row.path) ?? [] : [])]);
}

function steps(row) {
  if (row.kind === "lab") return "–";
  if (row.kind === "sweep") return row.runs === undefined ? "–" : `${row.done} of ${row.runs} runs`;
  if (row.rounds !== undefined) return `${row.rounds} round${row.rounds === 1 ? "" : "s"}`;
  const of = row.steps && row.step !== row.steps && row.step !== null ? ` of ${number(row.steps)}` : "";
  return number(row.step) + of;
}

// What is unknown stands last, whichever way the column is sorted.
function order(a, b, down) {
  const [unknownA, unknownB] = [a, b].map((v) => v === undefined || v === null || v === "");
  if (unknownA || unknownB) return unknownA - unknownB;
  const found = typeof a === "number" ? a - b : String(a).localeCompare(String(b));
  return down ? -found : found;
}

// Day and minute by the reader's clock; the year where it is not this one.
function when(text) {
  const local = new Date(text).toLocaleString("sv").slice(0, 16);
  return local.startsWith(`${new Date().getFullYear()}-`) ? local.slice(5) : local;
}

function cell(words, content, kind = null) {
  return make("td", { role: "cell", "data-label": words, class: kind }, content);
}

function figure(words, found) {
  if (!found) return cell(words, "–", "n none");
  return cell(words, [found.text, make("span", { class: "soft range", title: found.n }, found.interval)], "n");
}
