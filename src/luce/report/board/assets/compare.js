// Runs beside each other: their recipes where they differ, and what they answer to one prompt.
"use strict";

import { address, ask, make, notice, number, title } from "/page.js";

export function compareView(main, paths) {
  let left = false;
  title(`${paths.length} runs compared`);
  main.append(make("p", { class: "around" }, make("a", { href: "#/" }, "All runs"),
    make("a", { href: "/comparison?" + new URLSearchParams(paths.map((path) => ["run", path])) },
      "Results and curves over each other")));
  ask("/api/beside", { run: paths }).then((found) => { if (!left) main.append(...views(found)); },
    (error) => { if (!left) notice(error.status ? error.message : "The board does not answer."); });
  return { leave() { left = true; } };
}

function views(found) {
  const letters = found.runs.map((_, i) => String.fromCharCode(65 + i));
  return [
    make("section", { "aria-labelledby": "runs-title" },
      make("h2", { id: "runs-title" }, "Runs"),
      make("ul", { class: "lettered" }, found.runs.map((run, i) => make("li", {},
        swatch(i), make("strong", {}, letters[i] + " "), make("a", { href: address("run", run.path) }, run.name),
        " ", make("span", { class: "soft" }, run.path))))),
    make("section", { "aria-labelledby": "recipe-title" },
      make("h2", { id: "recipe-title" }, "Recipes"), recipes(found, letters)),
    make("section", { "aria-labelledby": "samples-title" },
      make("h2", { id: "samples-title" }, "Samples"), ...samples(found, letters)),
  ];
}

function swatch(i) {
  return make("span", { class: `swatch run-${i}` });
}

function recipes(found, letters) {
  if (found.without_recipe.length) return make("p", {}, `No recipe was kept of ${found.without_recipe.join(", ")}.`);
  if (!found.recipe.length) return make("p", {}, "The recipes are the same, but for names and folders.");
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Recipes" },
    make("table", { class: "recipe" }, make("caption", {}, "Keys whose values differ"),
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Key"),
        letters.map((letter, i) => make("th", { scope: "col" }, swatch(i), letter)))),
      make("tbody", {}, found.recipe.map((one) => make("tr", {},
        make("th", { scope: "row" }, make("code", {}, one.key)),
        one.given.map((value) => make("td", {}, value === null ? make("span", { class: "empty" }, "no such key") : make("code", {}, value))))))));
}

function samples(found, letters) {
  if (!found.samples.length) return [make("p", {}, "No two of the runs were sampled at the same prompt.")];
  const count = make("span", { role: "status", class: "soft" });
  const articles = found.samples.map((sample, i) => make("article", { class: "sample", "aria-label": `Sample ${i + 1}` },
    make("div", { class: "prompt" }, make("h3", {}, `Prompt ${i + 1}`), said(sample.prompt)),
    make("div", { class: "sides" + (letters.length > 2 ? " many" : "") },
      sample.sides.map((side, k) => make("div", { class: "side" },
        make("h4", {}, swatch(k), letters[k]), side ? [about(side), said(side)] : make("p", { class: "empty" }, "not sampled here"))))));
  const box = make("input", { id: "find", type: "search", autocomplete: "off", input: show });
  function show() {
    const words = box.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const article of articles) {
      const text = article.textContent.toLocaleLowerCase();
      article.hidden = !words.every((word) => text.includes(word));
      shown += !article.hidden;
    }
    count.textContent = `${shown} of ${articles.length} shown`;
  }
  show();
  return [
    make("p", {}, "What each trained policy answers to the same prompt.", found.left_out ? ` ${found.left_out} more are not shown.` : ""),
    make("div", { class: "search", role: "search" }, make("label", { for: "find" }, "Search the samples"), box, count),
    ...articles];
}

function about(side) {
  const told = [];
  if (side.tokens !== null) told.push(`${side.tokens} tokens`);
  if (side.reward !== null) told.push(`reward ${number(side.reward)}`);
  return make("p", { class: "meta" }, told.join(", "), side.ended === false ? make("span", { class: "cut" }, " cut at the limit") : "");
}

function said(text) {
  if (!text.text) return make("p", { class: "empty" }, "empty");
  return make("p", { class: "said", dir: "auto" }, text.text,
    text.more ? make("span", { class: "cut" }, ` [… ${text.more} more characters]`) : "");
}
