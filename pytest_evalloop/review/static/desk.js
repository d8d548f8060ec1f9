// What the page knows: the index of all traces, the contents of those near by, and the labels.

import { NO_FILTER } from "./filters.js";
import { get, Lost } from "./talk.js";

const WINDOW = 24; // traces fetched together
const AHEAD = 8; // traces that are there before they are asked for
const KEPT = 200; // contents kept at most

export const desk = {
  outlines: [], known: 0, byId: new Map(), contents: new Map(), modes: [], problems: [], saver: null,
  list: [], place: 0, filter: { ...NO_FILTER }, view: "trace", unfolded: false, at: "", direction: 1,
  trouble: () => {}, // told of every request that failed
};
export const current = () => desk.list[desk.place];

export function judged() {
  let number = 0;
  for (const { id } of desk.outlines) if (desk.saver.effective(id).passed !== null) number += 1;
  return number;
}

// Runs a request; a lost server is noted and undefined returned.
export async function asked(request) {
  try {
    const answer = await request();
    desk.saver?.recovered();
    return answer;
  } catch (error) {
    if (error instanceof Lost) desk.saver.lose(error.message);
    desk.trouble(error);
    return undefined;
  }
}

let fetching = null;

export async function fetchAround(place, direction) {
  const from = direction < 0 ? Math.max(0, place - WINDOW + 1) : place;
  const near = desk.list.slice(from, from + WINDOW);
  const missing = (direction < 0 ? near.reverse() : near).filter((id) => !desk.contents.has(id));
  if (!missing.length) return;
  const found = await asked(() => get("/api/traces", missing.map((id) => ["id", id])));
  for (const content of found ?? []) desk.contents.set(content.id, content);
  for (const id of desk.contents.keys()) {
    if (desk.contents.size <= KEPT) break;
    if (id !== current()) desk.contents.delete(id);
  }
}

export function prefetch() {
  const next = desk.list[desk.place + AHEAD * desk.direction] ?? (desk.direction > 0 ? desk.list.at(-1) : desk.list[0]);
  if (fetching || !next || desk.contents.has(next)) return;
  fetching = fetchAround(desk.place + desk.direction, desk.direction).finally(() => { fetching = null; });
}

export async function load() {
  const index = await get("/api/index");
  desk.outlines = index.traces;
  desk.byId = new Map(index.traces.map((outline) => [outline.id, outline]));
  desk.problems = index.problems;
  desk.modes = index.modes;
  desk.known = index.traces.length;
  return index;
}
