// Which traces are shown, and in which order; decided from the index, the labels and one search on the server.

import { el } from "./dom.js";

const MOST_VALUES = 200; // of one fact, to choose from

export const NO_FILTER = { text: "", verdict: "", mode: "", fact: "", value: "", order: "" };

const VERDICTS = {
  none: (label) => label.passed === null && !label.deferred,
  pass: (label) => label.passed === true,
  fail: (label) => label.passed === false,
  deferred: (label) => label.deferred,
  noted: (label) => label.note !== "",
};

const MODES = {
  1: (label, mode) => label.modes[mode] === true,
  0: (label, mode) => label.modes[mode] === false,
  "?": (label, mode) => !(mode in label.modes),
};

// The place of an id among the shuffled: the same at every start, and unrelated to what the trace says.
function shuffle(id) {
  let hash = 2166136261;
  for (let at = 0; at < id.length; at += 1) hash = Math.imul(hash ^ id.charCodeAt(at), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
  return (hash ^ (hash >>> 13)) >>> 0;
}

// Returns the ids that a filter lets through; `mentioned` are those that a search found, null without a search.
export function filtered(outlines, labelOf, filter, mentioned) {
  const verdict = VERDICTS[filter.verdict];
  const [said, mode] = [filter.mode[0], filter.mode.slice(2)];
  const found = outlines.filter(({ id, source, facts }) => {
    if (mentioned && !mentioned.has(id)) return false;
    if (filter.fact && filter.value && { source, ...facts }[filter.fact] !== filter.value) return false;
    const label = verdict || mode ? labelOf(id) : null;
    return (!verdict || verdict(label)) && (!mode || MODES[said](label, mode));
  });
  const ids = found.map(({ id }) => id);
  if (filter.order !== "shuffled") return ids;
  const places = new Map(ids.map((id) => [id, shuffle(id)]));
  return ids.sort((one, other) => places.get(one) - places.get(other));
}

export const isOn = (filter) => Object.entries(NO_FILTER).some(([name, value]) => filter[name] !== value);

function valuesOf(outlines, fact) {
  const counts = new Map();
  for (const { source, facts } of outlines) {
    const value = fact === "source" ? source : facts[fact];
    if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  return [...counts].sort((one, other) => other[1] - one[1]).slice(0, MOST_VALUES);
}

function offer(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, text]) => el("option", { value }, text)));
  select.value = chosen;
  if (select.selectedIndex < 0) select.value = "";
}

// Fills the form's lists with what there is to choose from.
export function offerChoices(form, outlines, modes, filter) {
  const facts = new Set(["source", ...outlines.flatMap((each) => Object.keys(each.facts))]);
  offer(form.fact, [["", "any"], ...[...facts].sort().map((name) => [name, name])], filter.fact);
  const values = form.fact.value ? valuesOf(outlines, form.fact.value) : [];
  offer(form.value, [["", "any"], ...values.map(([value, times]) => [value, `${value} (${times})`])], filter.value);
  form.value.disabled = values.length === 0;
  const ways = [["1", "occurs"], ["0", "does not"], ["?", "not said"]];
  const choices = modes.flatMap(({ id }) => ways.map(([key, way]) => [`${key} ${id}`, `${id} ${way}`]));
  offer(form.mode, [["", "any"], ...choices], filter.mode);
  form.mode.disabled = modes.length === 0;
  for (const name of ["verdict", "order"]) form[name].value = filter[name];
  if (form.text.value.trim() !== filter.text) form.text.value = filter.text; // a space is being typed
}

export function chosen(form) {
  const filter = Object.fromEntries(Object.keys(NO_FILTER).map((name) => [name, form[name].value]));
  filter.text = filter.text.trim();
  return filter.fact ? filter : { ...filter, value: "" };
}
