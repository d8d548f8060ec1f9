// The page's dialogs: jumping to a trace, naming a failure mode, and settling a conflict.

import { button, byId, el, time } from "./dom.js";
import { applied } from "./saving.js";
import { post } from "./talk.js";
import { write } from "./text.js";
import { verdictOf } from "./rail.js";

const MATCHES = 8;

// Jumping: a position in the list, an id, or words of an input.
export function jumping(desk, go) {
  const dialog = byId("jump");
  const input = byId("jump-to");
  const list = byId("jump-found");
  let matches = [];
  let at = 0;

  const choose = (id) => {
    dialog.close();
    go(id);
  };
  const mark = () => {
    [...list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === at)));
    input.setAttribute("aria-activedescendant", matches.length ? `match-${at}` : "");
  };
  const find = () => {
    const words = input.value.trim().toLowerCase();
    const place = /^[1-9]\d*$/.test(words) ? desk.list[Number(words) - 1] : undefined;
    const ranks = desk.outlines.map((outline) => {
      const id = outline.id.toLowerCase();
      if (!words) return [9, outline];
      return [id === words ? 0 : id.startsWith(words) ? 1 : id.includes(words) ? 2 : outline.title.toLowerCase().includes(words) ? 3 : 9, outline];
    });
    const found = ranks.filter(([rank]) => rank < 9).sort((one, other) => one[0] - other[0]).map(([, { id }]) => id);
    matches = [...new Set([...(place ? [place] : []), ...found])].slice(0, MATCHES);
    at = 0;
    list.replaceChildren(...matches.map((id, index) => {
      const item = el("li", { role: "option", id: `match-${index}` });
      const name = el("span", { class: "trace-id" });
      const title = el("span", { class: "preview" });
      write(name, id);
      write(title, desk.byId.get(id).title);
      item.append(name, title);
      item.addEventListener("click", () => choose(id));
      return item;
    }));
    if (words && !matches.length) list.replaceChildren(el("li", { class: "nothing" }, "No such trace."));
    mark();
  };
  input.addEventListener("input", find);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && matches.length) {
      at = (at + step + matches.length) % matches.length;
      mark();
      event.preventDefault();
    }
  });
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (matches.length) choose(matches[at]);
  });
  return () => {
    input.value = "";
    find();
    dialog.showModal();
    input.focus();
  };
}

function nextId(modes) {
  const numbers = modes.map(({ id }) => Number(/^FM-(\d+)$/.exec(id)?.[1] ?? 0));
  return `FM-${String(Math.max(0, ...numbers) + 1).padStart(2, "0")}`;
}

function today() {
  const now = new Date();
  return [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}

// Naming: makes a failure mode, or edits one; `changed` is called with all modes.
export function naming(desk, current, changed) {
  const dialog = byId("naming");
  const form = dialog.querySelector("form");
  const error = byId("naming-error");
  let before = null;

  const fill = (mode) => {
    for (const name of ["id", "title", "definition"]) form.elements[name].value = mode[name];
    if (![...form.severity.options].some((each) => each.value === mode.severity)) form.severity.append(el("option", {}, mode.severity));
    form.severity.value = mode.severity;
    form.examples.value = mode.examples.join(" ");
    form.today.checked = false;
    byId("reviewed").textContent = mode.reviewed ? `(last: ${mode.reviewed})` : "";
  };
  const say = (text, ...more) => {
    error.replaceChildren(text, ...more);
    error.hidden = !text;
  };
  const theirs = (mode) => {
    const take = () => {
      before = mode;
      if (mode) fill(mode);
      say("");
    };
    const mine = () => {
      before = mode;
      say("");
      form.requestSubmit();
    };
    return [mode ? button("Show what is saved", take) : null, button("Save mine", mine)].filter(Boolean);
  };
  const fail = (failure) => {
    if (failure.status === 409) say(`${failure.message} `, ...theirs(failure.body.mode));
    else say(failure.message);
  };
  const send = async (path, body) => {
    try {
      const { modes } = await post(path, body);
      dialog.close();
      changed(modes);
    } catch (failure) {
      fail(failure);
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = Object.fromEntries(["id", "title", "definition", "severity"].map((name) => [name, form.elements[name].value.trim()]));
    const examples = form.examples.value.split(/[\s,]+/).filter(Boolean);
    const reviewed = form.today.checked ? today() : (before?.reviewed ?? "");
    send("/api/mode", { mode: { ...values, examples, reviewed }, expected: before });
  });
  byId("this-trace").addEventListener("click", () => {
    const ids = new Set(form.examples.value.split(/[\s,]+/).filter(Boolean));
    if (current()) ids.add(current());
    form.examples.value = [...ids].join(" ");
  });
  byId("remove-mode").addEventListener("click", () => send("/api/mode/remove", { id: before.id }));
  byId("naming-cancel").addEventListener("click", () => dialog.close());
  return (mode = null) => {
    before = mode;
    byId("naming-title").textContent = mode ? "Edit a failure mode" : "Name a failure mode";
    fill(mode ?? { id: nextId(desk.modes), title: "", definition: "", severity: "major", examples: [], reviewed: "" });
    form.elements.id.readOnly = mode !== null;
    byId("remove-mode").hidden = mode === null;
    say("");
    dialog.showModal();
    form.elements.title.focus();
  };
}

function version(node, label, modes, other) {
  const verdict = { "": "none", pass: "pass", fail: "fail", deferred: "deferred" };
  const occurring = (each) => modes.filter(({ id }) => each.modes[id]).map(({ id }) => id).join(", ") || "none";
  const rows = [
    ["Verdict", verdict[verdictOf(label)], verdict[verdictOf(other)]],
    ["Note", label.note || "none", other.note || "none"],
    ["Modes", occurring(label), occurring(other)],
  ];
  node.replaceChildren(...rows.map(([name, text, theirs]) => {
    const said = el("dd");
    write(said, text);
    return el("div", { class: text === theirs ? "" : "differs" }, el("dt", {}, name), said);
  }));
}

// Settling: shows both versions of a label, and saves what the reader decides.
export function settling(desk) {
  const dialog = byId("conflict");
  let trace = null;
  const decide = (choose) => () => {
    const { change, theirs } = desk.saver.stuck.get(trace);
    dialog.close();
    desk.saver.settle(trace, choose(change, theirs));
  };
  byId("keep-theirs").addEventListener("click", decide(() => null));
  byId("keep-mine").addEventListener("click", decide((change) => change));
  byId("keep-notes").addEventListener("click", decide((change, theirs) => ({ ...change, note: `${theirs.note}\n${change.note}` })));
  return (id) => {
    const { change, theirs } = desk.saver.stuck.get(id);
    trace = id;
    const mine = applied(theirs, change);
    const who = theirs.by ? ` by ${theirs.by}` : "";
    byId("conflict-where").replaceChildren();
    write(byId("conflict-where"), `${id}, changed${who} at ${time(theirs.at)}, perhaps in another tab. Nothing is lost: choose what holds.`);
    version(byId("theirs"), theirs, desk.modes, mine);
    version(byId("mine"), mine, desk.modes, theirs);
    byId("keep-notes").hidden = !(change.note && theirs.note && change.note !== theirs.note);
    if (!dialog.open) dialog.showModal();
  };
}
