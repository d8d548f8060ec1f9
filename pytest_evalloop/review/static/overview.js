// How far the reading is: progress, rates with their intervals, and the saturation curve.

import { button, count, el, percent, svg } from "./dom.js";
import { write } from "./text.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [640, 244, 36, 34, 28, 14];

function interval(found) {
  return found ? `${percent(found.low)} to ${percent(found.high)}` : "";
}

function bar(share, found) {
  const at = (value) => 4 + 152 * value;
  const drawn = svg("svg", { class: "rate", viewBox: "0 0 160 16", role: "img", "aria-label": `${percent(share)}, ${interval(found)}` });
  drawn.append(svg("line", { class: "scale", x1: at(0), x2: at(1), y1: 8, y2: 8 }));
  drawn.append(svg("line", { class: "range", x1: at(found.low), x2: at(found.high), y1: 8, y2: 8 }));
  drawn.append(svg("circle", { class: "point", cx: at(share), cy: 8, r: 4 }));
  return drawn;
}

// Round numbers, at most about five of them, that cover 0 to `most`.
function ticks(most) {
  const rough = Math.max(1, most / 5);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, at) => Math.round(at * step));
}

function curve(found) {
  const most = Math.max(1, found.at(-1) ?? 0);
  const x = (read) => LEFT + ((WIDTH - LEFT - RIGHT) * read) / Math.max(1, found.length);
  const y = (modes) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * modes) / most;
  const title = `Failure modes found: ${found.at(-1) ?? 0} after ${count(found.length, "trace")}`;
  const drawn = svg("svg", { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  for (const tick of ticks(most)) {
    drawn.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }));
    drawn.append(svg("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  for (const tick of ticks(found.length)) {
    drawn.append(svg("text", { x: x(tick), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, String(tick)));
  }
  drawn.append(svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 2, "text-anchor": "end" }, "traces read"));
  drawn.append(svg("text", { x: LEFT, y: 14 }, "failure modes found"));
  let path = `M${x(0)} ${y(0)}`;
  found.forEach((modes, at) => {
    if (modes !== (found[at - 1] ?? 0)) path += `H${x(at + 1)}V${y(modes)}`;
  });
  drawn.append(svg("path", { class: "line", d: `${path}H${x(found.length)}` }));
  return drawn;
}

function figure(value, words) {
  return el("div", { class: "figure" }, el("div", { class: "value" }, value), el("div", { class: "words" }, words));
}

function progress(seen) {
  const rate = seen.judged
    ? figure(percent(seen.failed / seen.judged), `fail: ${seen.failed} of ${seen.judged} judged, ${interval(seen.interval)} with 95 % confidence`)
    : figure("–", "failure rate: nothing is judged yet");
  return el("div", { class: "figures" },
    figure(`${seen.judged} of ${seen.traces}`, "traces have a verdict"), rate,
    figure(String(seen.deferred), "deferred, to come back to"));
}

function modeRow(mode, rate, stale, on) {
  const title = el("div", { class: "mode-title" });
  write(title, mode.title);
  const definition = el("div", { class: "definition" });
  write(definition, mode.definition);
  const seen = rate?.labelled ? `${rate.failures} of ${rate.labelled}` : "not judged yet";
  const words = rate?.interval ? `${percent(rate.failures / rate.labelled)}, ${interval(rate.interval)}` : "";
  const when = mode.reviewed ? `reviewed ${mode.reviewed}` : "not marked as reviewed";
  const flag = stale ? el("span", { class: "flag" }, "stale: read its traces again") : null;
  const show = button(seen, () => on.filter(`1 ${mode.id}`), { class: "link", title: "Show the traces in which it occurs" });
  return el("tr", {},
    el("td", { class: "mode-id" }, mode.id),
    el("td", {}, title, definition, el("div", { class: "when" }, `${mode.severity}, ${when} `, flag)),
    el("td", { class: "seen" }, rate?.failures ? show : seen),
    el("td", { class: "spread" }, rate?.interval ? bar(rate.failures / rate.labelled, rate.interval) : null, el("div", { class: "words" }, words)),
    el("td", {}, button("Edit", () => on.edit(mode), { class: "quiet", "aria-label": `Edit ${mode.id}` })));
}

function table(seen, modes, on) {
  if (!modes.length) {
    return [el("p", { class: "nothing" }, "None is named yet. First read 30 to 50 traces and note what you see; then group the notes.")];
  }
  const rates = new Map(seen.modes.map((rate) => [rate.id, rate]));
  const head = ["Id", "Failure mode", "Occurs in", "Rate, with 95 % interval", ""].map((text) => el("th", { scope: "col" }, text));
  const rows = modes.map((mode) => modeRow(mode, rates.get(mode.id), seen.stale.includes(mode.id), on));
  return [el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)))];
}

export function showOverview(node, seen, desk, on) {
  const problems = desk.problems.map((problem) => {
    const item = el("li");
    write(item, problem);
    return item;
  });
  node.replaceChildren(
    el("h2", {}, "Overview"),
    progress(seen),
    el("h3", {}, "Failure modes"),
    ...table(seen, desk.modes, on),
    el("div", { class: "under" }, button("Name a failure mode", on.name), button("Back to the trace", on.back, { class: "quiet" })),
    el("h3", {}, "Saturation"),
    curve(seen.saturation.found),
    el("p", { class: "sentence" }, seen.saturation.sentence),
    ...(problems.length ? [el("h3", {}, "What could not be read"), el("ul", { class: "problems" }, ...problems)] : []),
  );
}
