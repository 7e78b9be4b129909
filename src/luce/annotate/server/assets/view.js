// Building what is shown, node by node: a text is never read as HTML.

const TAGS = new Set(["p", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em",
  "strong", "s", "table", "thead", "tbody", "tr", "th", "td", "br", "hr"]);

export const letter = (place) => String.fromCharCode(65 + place);

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, String(value));
  }
  node.append(...children);
  return node;
}

function grown(node) {
  if (typeof node === "string") return document.createTextNode(node);
  const [tag, children] = node;
  const inner = children.map(grown);
  if (tag === "address") return make("span", { class: "address" }, ...inner);
  if (!TAGS.has(tag)) return make("span", {}, ...inner);
  if (tag === "table") return make("div", { class: "scroll" }, make("table", {}, ...inner));
  return make(tag, {}, ...inner);
}

export function text(given, view, pieces) {
  if (view === "differences" && pieces) {
    const parts = pieces.map(([words, marked]) => marked ? make("mark", {}, words) : words);
    return make("div", { class: "text plain" }, ...parts);
  }
  if (given.text === "") return make("p", { class: "empty" }, "(nothing: the response is empty)");
  if (view !== "formatted") return make("div", { class: "text plain" }, given.text);
  return make("div", { class: "text" }, ...given.tree.map(grown));
}

export function prompt(turns, view) {
  return turns.map((turn) => make("div", { class: "turn" },
    ...(turn.role ? [make("p", { class: "role" }, turn.role)] : []), text(turn, view, null)));
}

export function responses(task, view, pieces, dimensions) {
  return task.responses.map((given, place) => make("article",
    { class: "response", "data-place": place, "aria-label": `Response ${letter(place)}` },
    make("h2", {}, letter(place), make("span", { class: "rank" })),
    text(given, view, pieces && pieces[place]),
    ...dimensions.map((name) => grades(name, place))));
}

function grades(name, place) {
  const group = `${name}-${place}`;
  return make("fieldset", { class: "grades", "data-dimension": name, "data-place": place },
    make("legend", {}, name),
    ...[1, 2, 3, 4, 5].map((grade) => make("label", {},
      make("input", { type: "radio", name: group, value: grade }), String(grade))));
}

export function said(verdict) {
  const { kind, ranks, strength, comment } = verdict;
  let words = { tie: "equally good", bad: "all bad", skip: "skipped" }[kind];
  if (kind === "ranked") {
    const places = ranks.map((rank, place) => [rank, place]).sort((a, b) => a[0] - b[0]);
    words = places.map(([rank, place], at) =>
      (at ? (rank === places[at - 1][0] ? " = " : " > ") : "") + letter(place)).join("");
    if (strength) words += ` (${["slightly", "clearly", "much"][strength - 1]})`;
  }
  return make("li", {}, words, comment ? `: ${comment}` : "");
}
