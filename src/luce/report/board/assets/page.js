// Parts that every view uses: elements made of text only, requests, numbers.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

// An element with attributes and children; text stays text, whatever is in it.
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function ask(path, parameters = {}, options = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) query.append(name, one);
  }
  const reply = await fetch(path + (query.size ? "?" + query : ""), options);
  const found = await reply.json().catch(() => ({ error: "The reply is not one of the board." }));
  if (!reply.ok) throw new Refused(reply.status, found.error || "The request was refused.");
  return found;
}

export function notice(text) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.hidden = !text;
}

export function title(text) {
  document.getElementById("title").textContent = text;
  document.title = text + " – luce board";
}

// Three significant digits, with a true minus.
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e-4 && size < 1e9
    ? (size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3))))
    : value.toExponential(2);
  return text.replaceAll("-", "−");
}

// A sentence in which no line breaks within an interval.
export function whole(text) {
  return text.split(/(\d[\d.,]*–\d[\d.,]*(?:\u00a0%)?)/).map((part, i) => (i % 2 ? make("span", { class: "whole" }, part) : part));
}

export function address(view, ...paths) {
  return "#/" + view + "/" + paths.map(encodeURIComponent).join("&");
}
