// All notes of failed traces on one sheet, to find what they have in common.

import { button, count, el, keepingFocus } from "./dom.js";
import { modeButtons } from "./rail.js";
import { write } from "./text.js";

function row(desk, id, label, on) {
  const said = el("p", { class: "said" });
  write(said, label.note || "(no note)");
  const name = el("span", { class: "trace-id" });
  write(name, id);
  const open = el("button", { type: "button", class: "open" }, said, name);
  open.addEventListener("click", () => on.open(id));
  const modes = el("div", { class: "chips" }, ...modeButtons(desk.modes, label, (mode) => on.mode(id, mode), { keys: false }));
  return el("li", { "data-id": id }, open, desk.modes.length ? modes : null);
}

function group(title, rows) {
  if (!rows.length) return [];
  return [el("h3", {}, `${title} `, el("span", { class: "number" }, String(rows.length))), el("ul", { class: "notes" }, ...rows)];
}

export function showNotes(node, desk, on) {
  const labels = desk.outlines.map(({ id }) => [id, desk.saver.effective(id)]);
  const failed = labels.filter(([, label]) => label.passed === false);
  const open = labels.filter(([, label]) => label.passed !== false && label.note);
  const row_ = ([id, label]) => row(desk, id, label, on);
  const grouped = desk.modes.flatMap((mode) => group(`${mode.id} ${mode.title}`, failed.filter(([, label]) => label.modes[mode.id]).map(row_)));
  const rest = failed.filter(([, label]) => !desk.modes.some((mode) => label.modes[mode.id]));
  const none = failed.length + open.length ? [] : [el("p", { class: "nothing" }, "No notes yet: fail a trace with 2 and say what you see.")];
  const rows = [
    el("h2", {}, "Notes"),
    el("p", { class: "lead" }, `${count(failed.length, "failed trace")}. A group of notes with one cause is a failure mode; 5 to 10 of them are usual.`),
    el("div", { class: "under" }, button("Name a failure mode", on.name), button("Back to the trace", on.back, { class: "quiet" })),
    ...none,
    ...group(desk.modes.length ? "Without a mode" : "Failed", rest.map(row_)),
    ...grouped,
    ...group("Notes on other traces", open.map(row_)),
  ];
  keepingFocus(node, () => node.replaceChildren(...rows));
}
