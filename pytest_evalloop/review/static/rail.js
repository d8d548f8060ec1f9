// What a person says of the trace in view: verdict, note, and one column a failure mode.

import { button, byId, count, el, kbd, keepingFocus, time } from "./dom.js";

const KEYS = [..."3456789qwertyzxcvbafhip"]; // those that no command has
export const ENOUGH = 30; // traces to read before modes are named, by the method

export const modeKeys = (modes) => new Map(modes.slice(0, KEYS.length).map((mode, at) => [KEYS[at], mode.id]));

export function verdictOf(label) {
  if (label.deferred) return "deferred";
  return label.passed === null ? "" : label.passed ? "pass" : "fail";
}

function said(occurs) {
  if (occurs === undefined) return ["·", "not said"];
  return occurs ? ["1", "occurs"] : ["0", "does not occur"];
}

// One button a mode; `act` is called with its id.
export function modeButtons(modes, label, act, { keys = true } = {}) {
  return modes.map((mode, at) => {
    const [sign, words] = said(label.modes[mode.id]);
    const key = keys ? KEYS[at] : undefined;
    const made = button("", () => act(mode.id), {
      class: "mode",
      "data-mode": mode.id,
      "data-said": sign,
      "aria-pressed": label.modes[mode.id] === undefined ? "mixed" : label.modes[mode.id],
      "aria-label": `${mode.id} ${mode.title}: ${words}`,
      title: mode.definition || mode.title,
    });
    made.append(el("span", { class: "sign", "aria-hidden": "true" }, sign), el("span", { class: "name" }, mode.title));
    made.append(el("span", { class: "mode-id" }, mode.id));
    if (key) made.append(kbd(key));
    return made;
  });
}

function showModes(node, modes, label, judged, on) {
  if (modes.length) {
    const tools = el("div", { class: "under" });
    tools.append(button("None of the others ", on.rest, { class: "quiet", id: "rest" }, kbd("0")));
    tools.append(button("Name a mode ", on.name, { class: "quiet", id: "name-mode" }, kbd("m")));
    node.replaceChildren(el("h3", {}, "Failure modes"), ...modeButtons(modes, label, on.mode), tools);
    return;
  }
  if (judged >= ENOUGH) {
    const text = `You have read ${judged} traces. If notes repeat themselves, name what they have in common.`;
    node.replaceChildren(el("p", { class: "later" }, text), button("Name a failure mode ", on.name, { id: "name-mode" }, kbd("m")));
    return;
  }
  const text = `Failure modes come later: first read ${ENOUGH} to 50 traces and note what you see, without categories.`;
  const sofar = `${count(judged, "trace")} so far.`;
  node.replaceChildren(el("p", { class: "later" }, `${text} ${sofar} `, button("Name one anyway", on.name, { class: "link", id: "name-mode" })));
}

// Brings the rail up to a label. What is being typed is part of it already, so the box is not disturbed.
export function showRail(label, modes, judged, on) {
  const verdict = verdictOf(label);
  for (const each of document.querySelectorAll(".verdict")) {
    const mine = { 1: "pass", 2: "fail", d: "deferred" }[each.dataset.key];
    each.setAttribute("aria-pressed", String(mine === verdict));
  }
  const note = byId("note");
  if (note.value.trim() !== label.note) note.value = label.note;
  keepingFocus(byId("modes"), (node) => showModes(node, modes, label, judged, on));
  byId("who").textContent = label.revision ? `Last changed ${time(label.at)}${label.by ? ` by ${label.by}` : ""}` : "";
}

// What a verdict says: that nothing went wrong says it of every mode that is still open, too.
export function passChange(label, modes) {
  return { passed: true, deferred: false, ...rest(label, modes) };
}

export const failChange = { passed: false, deferred: false };
export const deferChange = { passed: null, deferred: true };

export function rest(label, modes) {
  const open = modes.filter((mode) => !(mode.id in label.modes)).map((mode) => [mode.id, false]);
  return open.length ? { modes: Object.fromEntries(open) } : {};
}

// A mode that occurs is a failure; one that is taken off leaves the verdict to the reader.
export function modeChange(label, mode) {
  const occurs = label.modes[mode] !== true;
  const fails = occurs && label.passed === null ? failChange : {};
  return { ...fails, modes: { [mode]: occurs } };
}
