// A curve as SVG, in the colors of the page: lines, points with intervals, and a rule where one is.
"use strict";

import { draw, make } from "/page.js";

const WIDTH = 430, HEIGHT = 258, LEFT = 64, RIGHT = 8, TOP = 34, BOTTOM = 40;

export function chart(curve) {
  const xs = curve.lines.flatMap((line) => line.x);
  const ys = curve.lines.flatMap((line) => [...line.y, ...(line.low || []), ...(line.high || [])]).filter((y) => y !== null);
  if (curve.level !== null) ys.push(curve.level);
  const [x0, x1] = ends(xs), [y0, y1] = padded(ends(ys));
  const x = (value) => LEFT + (WIDTH - LEFT - RIGHT) * (value - x0) / (x1 - x0);
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - y0) / (y1 - y0);
  const parts = [];
  const largest = Math.max(Math.abs(y0), Math.abs(y1)), powers = largest < 1e-3 || largest >= 1e6;
  for (const tick of ticks(y0, y1)) {
    parts.push(draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }));
    parts.push(draw("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, told(tick, powers)));
  }
  for (const tick of ticks(x0, x1)) {
    if (tick !== Math.round(tick)) continue;
    parts.push(draw("line", { class: "axis", x1: x(tick), x2: x(tick), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }));
    parts.push(draw("text", { x: x(tick), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, tick.toLocaleString("en")));
  }
  parts.push(draw("path", { class: "axis", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}` }));
  parts.push(draw("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, curve.x));
  parts.push(draw("text", { "text-anchor": "middle", transform: `translate(12 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)` }, curve.unit));
  if (curve.level !== null) parts.push(draw("line", { class: "level", x1: LEFT, x2: WIDTH - RIGHT, y1: y(curve.level), y2: y(curve.level) }));
  for (const line of curve.lines) {
    if (line.low) parts.push(band(line, x, y));
    parts.push(draw("path", { class: `${line.kind} ${line.role}`, d: path(line.x, line.y, x, y) }));
    if (line.kind === "points" && line.x.length <= 60 || line.x.length === 1) {
      line.x.forEach((step, i) => {
        if (line.y[i] !== null) parts.push(draw("circle", { class: `dot ${line.role}`, cx: x(step), cy: y(line.y[i]), r: 3 }));
      });
    }
  }
  parts.push(...legend(curve.lines.filter((line) => line.label && curve.lines.length > 1)));
  return make("figure", {},
    make("figcaption", {}, make("strong", {}, curve.title), curve.note),
    draw("svg", { class: "plot live", role: "img", "aria-label": curve.words, viewBox: `0 0 ${WIDTH} ${HEIGHT}` }, parts));
}

// A band through the intervals; where there is one only, or gaps, a bar at each.
function band(line, x, y) {
  const known = line.ends.map((_, i) => i).filter((i) => line.low[i] !== null && line.high[i] !== null);
  if (line.ends.length !== line.low.length || !known.length) return "";
  if (known.length === 1 || known.length <= 12) {
    const bars = known.map((i) => `M${x(line.ends[i]).toFixed(1)} ${y(line.low[i]).toFixed(1)}V${y(line.high[i]).toFixed(1)}`);
    return draw("path", { class: `bar ${line.role}`, d: bars.join("") });
  }
  const there = known.map((i) => `${x(line.ends[i]).toFixed(1)} ${y(line.low[i]).toFixed(1)}`);
  const back = known.map((i) => `${x(line.ends[i]).toFixed(1)} ${y(line.high[i]).toFixed(1)}`).reverse();
  return draw("path", { class: `band ${line.role}`, d: `M${there.join("L")}L${back.join("L")}Z` });
}

// What is not a number is a gap.
function path(steps, values, x, y) {
  let text = "", pen = "M";
  values.forEach((value, i) => {
    if (value === null) { pen = "M"; return; }
    text += `${pen}${x(steps[i]).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  });
  return text;
}

// One axis writes all its ticks in the same way.
function told(value, powers) {
  const text = powers && value ? String(Number(value.toPrecision(3)).toExponential()).replace("e+", "e") : String(value);
  return text.replaceAll("-", "−");
}

function legend(lines) {
  const found = [];
  const wide = lines.length > 2 ? 190 : 130;
  lines.forEach((line, i) => {
    const left = 2 + wide * (i % 2), top = lines.length > 2 ? 8 + 14 * Math.floor(i / 2) : 14;
    found.push(draw("path", { class: `${line.kind} ${line.role}`, d: `M${left} ${top}h18` }));
    found.push(draw("text", { x: left + 23, y: top + 4 }, line.label));
  });
  return found;
}

function ends(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  if (!(high >= low)) return [0, 1];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

function padded([low, high]) {
  const more = 0.05 * (high - low);
  return [low - more, high + more];
}

// About five round numbers between the ends.
export function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k += 1) found.push(Number((k * step).toPrecision(12)));
  return found;
}
