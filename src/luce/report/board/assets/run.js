// One run: what it says of itself, and its curves, drawn again as it grows.
"use strict";

import { address, ask, make, notice, title, whole } from "/page.js";
import { chart } from "/chart.js";

export function runView(main, path) {
  let tag = "", timer = 0, left = false;
  const place = make("div");
  main.append(make("p", { class: "around" }, make("a", { href: "#/" }, "All runs")), place);

  function show(run) {
    title(run.name || run.shown || path);
    const report = run.has_report ? make("a", { href: "/report?" + new URLSearchParams({ run: path }) }, "The whole report") : null;
    place.replaceChildren(
      make("section", { "aria-labelledby": "verdict-title" },
        run.status ? make("p", { class: "state", role: "status" }, run.status) : null,
        make("h2", { id: "verdict-title", class: "soft" }, run.state === "running" ? "Verdict so far" : "Verdict"),
        make("p", { class: "headline" }, whole(run.verdict[0])),
        run.verdict.slice(1).map((sentence) => make("p", {}, whole(sentence))),
        make("p", { class: "note" }, run.objective || "", run.formula ? [": ", make("code", {}, run.formula)] : ""),
        report ? make("p", {}, report) : null,
        run.cautions.length ? make("div", { class: "cautions", role: "group", "aria-labelledby": "cautions-title" },
          make("h3", { id: "cautions-title" }, "Before you use it"),
          make("ul", {}, run.cautions.map((text) => make("li", {}, whole(text))))) : null),
      run.curves.length ? make("section", { "aria-labelledby": "curves-title" },
        make("h2", { id: "curves-title" }, "Curves"),
        make("div", { class: "plots" }, run.curves.map(chart))) : "",
      run.parts.length ? parts(run) : "",
      run.checks ? checks(run) : "");
  }

  function parts(run) {
    return make("section", { "aria-labelledby": "parts-title" },
      make("h2", { id: "parts-title" }, "Training of each round"),
      make("ul", {}, run.parts.map((part) => make("li", {},
        make("a", { href: address("run", path + "/" + part.path) }, part.path), " ", part.state))));
  }

  function checks(run) {
    return make("section", { "aria-labelledby": "checks-title" },
      make("h2", { id: "checks-title" }, "Checks"),
      make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Checks" },
        make("table", {}, make("caption", {}, "What was found, against what was expected"),
          make("thead", {}, make("tr", {}, ["Passed", "What", "Expected"].map((w) => make("th", { scope: "col" }, w)))),
          make("tbody", {}, run.checks.map((one) => make("tr", {},
            make("td", {}, one.passed), make("th", { scope: "row" }, one.what), make("td", {}, one.expected)))))),
      run.pictures.map((name) => make("p", {}, make("img", { class: "picture", alt: `Figure ${name}`,
        src: "/picture?" + new URLSearchParams({ run: path, name }) }))));
  }

  async function read() {
    clearTimeout(timer);
    let wait = 2000, going = true;
    if (!document.hidden) {
      try {
        const found = await ask("/api/run", { run: path, seen: tag });
        if (left) return;
        notice("");
        tag = found.tag;
        wait = 1000 * found.wait_s;
        if (!found.unchanged) {
          show(found);
          going = found.state === "running";
          if (!going) wait = Math.max(wait, 10000);
        }
      } catch (error) {
        if (left) return;
        notice(error.status ? error.message : "The board does not answer. It is asked again.");
        wait = 5000;
      }
    }
    timer = setTimeout(read, wait);
  }

  const seen = () => { if (!document.hidden) read(); };
  document.addEventListener("visibilitychange", seen);
  title(path);
  read();
  return { leave() { left = true; clearTimeout(timer); document.removeEventListener("visibilitychange", seen); } };
}
