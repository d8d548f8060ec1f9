// The page's desk: what is in view, which keys do what, and who is told when something changes.

import { button, byId, count } from "./dom.js";
import { asked, current, desk, fetchAround, judged, load, prefetch } from "./desk.js";
import { jumping, naming, settling } from "./dialogs.js";
import { chosen, filtered, isOn, NO_FILTER, offerChoices } from "./filters.js";
import { listenToKeys } from "./keys.js";
import { labelling, leaveNote, sayNote } from "./labelling.js";
import { showNotes } from "./notes.js";
import { showOverview } from "./overview.js";
import * as rail from "./rail.js";
import { Saver } from "./saving.js";
import { get, Lost } from "./talk.js";
import { showTrace, showWaiting } from "./trace.js";

const NEWS = 15_000; // milliseconds between looks at what other tabs did

const note = byId("note");
const article = byId("trace");
const fresh = byId("fresh");
const form = byId("filters");

const shown = () => desk.view === "trace" && article.dataset.id !== undefined && article.dataset.id === current();

function hint(text) {
  byId("hint").textContent = text;
}

// --- what is seen -------------------------------------------------------------------------------------------

function showProgress() {
  const done = judged();
  const whole = desk.outlines.length;
  byId("position").textContent = desk.list.length ? `${desk.place + 1} of ${desk.list.length}` : "0 of 0";
  byId("done").textContent = `${done} of ${whole} judged`;
  const meter = byId("meter");
  meter.setAttribute("aria-valuemax", String(whole));
  meter.setAttribute("aria-valuenow", String(done));
  meter.style.setProperty("--share", String(whole ? done / whole : 0));
  return done;
}

const railActions = { mode: (id) => say.mode(current(), id), rest: () => say.rest(), name: () => page.openNaming() };

function showLabel() {
  const done = showProgress();
  if (current()) rail.showRail(desk.saver.effective(current()), desk.modes, done, railActions);
}

function showSaved() {
  const { name, unsaved, reason } = desk.saver.state();
  const words = { saved: "Saved", saving: "Saving …", lost: `${count(unsaved, "change")} not saved`, stuck: "Not saved" };
  const saved = byId("saved");
  saved.textContent = name === "lost" && !unsaved ? "Server lost" : words[name];
  saved.dataset.state = name;
  const banner = byId("banner");
  banner.hidden = name === "saved" || name === "saving";
  if (name === "lost") {
    const kept = unsaved ? `${count(unsaved, "change")} ${unsaved === 1 ? "is" : "are"} kept in this browser and will be saved when it is back.` : "";
    banner.replaceChildren(`${reason} ${kept} Start the same command again if it was ended. `, button("Try now", () => desk.saver.again()));
  } else if (name === "stuck") {
    const [trace, { error, theirs }] = [...desk.saver.stuck][0];
    const act = theirs ? button("Decide", () => page.openConflict(trace)) : button("Discard my change", () => desk.saver.settle(trace, null));
    const said = theirs ? `The label of ${trace} was changed meanwhile, perhaps in another tab. Your version is kept here.` : `${trace}: ${error}`;
    banner.replaceChildren(`${said} `, act);
  }
}

// Traces that were recorded since: offered, since a list that grows by itself moves under the reader.
function showFresh() {
  const number = desk.known - desk.outlines.length;
  fresh.hidden = number <= 0;
  if (number > 0) fresh.firstChild.data = `${count(number, "new trace")} `;
}

function changed(trace) {
  showSaved();
  if (desk.view === "trace") {
    if (trace === current()) showLabel();
    else showProgress();
  } else show(desk.view);
  showConflict(trace);
}

// Nobody is interrupted while typing: a dialog would swallow the next words, and take a space for an answer.
function showConflict(trace) {
  const entry = desk.saver.stuck.get(trace);
  if (!entry?.theirs || entry.shown || document.activeElement.matches("input, select, textarea")) return;
  entry.shown = true;
  page.openConflict(trace);
}

function remember() {
  sessionStorage.setItem("place", JSON.stringify({ id: current(), filter: desk.filter, view: desk.view }));
}

async function show(view) {
  if (view !== desk.view) window.scrollTo(0, 0);
  desk.view = view;
  for (const name of ["trace", "notes", "overview"]) byId(`view-${name}`).hidden = name !== view;
  for (const tab of document.querySelectorAll(".tab")) {
    if (tab.dataset.view === view) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  remember();
  const on = { ...railActions, back: () => show("trace"), edit: (mode) => page.openNaming(mode), open: (id) => goTo(id), mode: say.mode };
  on.filter = (mode) => applyFilter({ ...NO_FILTER, mode }).then(() => show("trace"));
  if (view === "trace") await showCurrent();
  if (view === "notes") showNotes(byId("view-notes"), desk, on);
  if (view === "overview") {
    const seen = await asked(() => get("/api/overview"));
    if (seen && desk.view === "overview") showOverview(byId("view-overview"), seen, desk, on);
  }
}

// --- going through the traces -------------------------------------------------------------------------------

async function showCurrent() {
  const id = current();
  showLabel();
  if (!id) {
    const none = desk.outlines.length ? "No trace passes this filter." : "There is nothing to read yet: run the evals, or import traces.";
    article.replaceChildren(none);
    delete article.dataset.id;
    return;
  }
  if (article.dataset.id !== id) {
    window.scrollTo(0, 0);
    if (!desk.contents.has(id)) {
      showWaiting(article, desk.byId.get(id));
      await fetchAround(desk.place, desk.direction);
      if (current() !== id || desk.view !== "trace") return;
    }
    if (!desk.contents.has(id)) return; // the banner says why; it is shown when the server is back
    showTrace(article, desk.byId.get(id), desk.contents.get(id), desk.unfolded);
  }
  prefetch();
}

function go(place) {
  leaveNote();
  hint("");
  desk.direction = place < desk.place ? -1 : 1;
  desk.place = place;
  if (document.activeElement !== document.body) document.activeElement.blur();
  remember();
  if (desk.view === "trace") showCurrent();
  else show("trace");
}

function move(by) {
  const place = desk.place + by;
  if (place >= 0 && place < desk.list.length) {
    go(place);
    return;
  }
  leaveNote();
  note.blur();
  showLabel();
  const open = desk.outlines.length - judged();
  const rest = open ? `${count(open, "trace")} without a verdict ${open === 1 ? "is" : "are"} left (press .)` : "Every trace has a verdict";
  hint(by > 0 ? `This is the last one of the list. ${rest}.` : "This is the first one of the list.");
}

function nextOpen() {
  const ring = [...desk.list.keys()].map((at) => (desk.place + 1 + at) % desk.list.length);
  const open = ring.find((at) => rail.verdictOf(desk.saver.effective(desk.list[at])) === "");
  if (open === undefined) hint(isOn(desk.filter) ? "Every trace of this filter has a verdict." : "Every trace has a verdict.");
  else go(open);
}

async function goTo(id) {
  if (!desk.list.includes(id)) await applyFilter({ ...NO_FILTER });
  const place = desk.list.indexOf(id);
  if (place >= 0) go(place);
}

let filterings = 0;

async function applyFilter(filter) {
  const words = filter.text;
  const turn = ++filterings;
  const answer = words ? await asked(() => get("/api/search", { text: words })) : null;
  if (turn !== filterings || (words && !answer)) return; // a later filter counts
  const id = current();
  desk.filter = filter;
  desk.list = filtered(desk.outlines, (each) => desk.saver.effective(each), filter, answer && new Set(answer.ids));
  desk.place = Math.max(0, desk.list.indexOf(id));
  byId("filter-open").classList.toggle("on", isOn(filter));
  byId("found").textContent = `${count(desk.list.length, "trace")} of ${desk.outlines.length}`;
  offerChoices(form, desk.outlines, desk.modes, filter);
  remember();
  if (desk.view === "trace") showCurrent();
}

async function takeIn() {
  const before = desk.outlines.length;
  if (fresh.hidden || !(await asked(load))) return;
  await applyFilter(desk.filter);
  showFresh();
  showProgress();
  if (desk.view !== "trace") show(desk.view);
  hint(`${count(desk.outlines.length - before, "new trace")} came in${isOn(desk.filter) ? "; the filter may hide some" : ""}.`);
}

// --- news from other tabs, and from a server that came back -------------------------------------------------

async function hear() {
  const before = desk.saver.acknowledged;
  const news = await asked(() => get("/api/news", { since: desk.at }));
  if (!news) return;
  desk.known = news.known;
  showFresh();
  if (before !== desk.saver.acknowledged || desk.saver.busy) return; // ours is newer
  const anew = news.at.split(":")[0] !== desk.at.split(":")[0];
  desk.at = news.at;
  for (const label of news.labels) desk.saver.labels.set(label.trace, label);
  const same = JSON.stringify(news.modes) === JSON.stringify(desk.modes);
  desk.modes = news.modes;
  if (anew && (await asked(load))) {
    desk.contents.clear();
    await applyFilter(desk.filter);
    showFresh();
  } else if (!same) offerChoices(form, desk.outlines, desk.modes, desk.filter);
  showSaved();
  if (!desk.outlines.length) await takeIn(); // nobody is reading anything yet
  if (news.labels.length || !same || anew) {
    if (desk.view === "trace") showCurrent();
    else show(desk.view);
  }
}

// --- keys and buttons ---------------------------------------------------------------------------------------

const page = { takeIn, hint, show, shown, move, goTo, nextOpen, changed, openFilter, openHelp: () => byId("help").showModal() };
const say = labelling(page);

function openFilter(open) {
  form.hidden = !open;
  byId("filter-open").setAttribute("aria-expanded", String(open));
  if (open) {
    offerChoices(form, desk.outlines, desk.modes, desk.filter);
    form.text.focus();
    form.text.select();
  } else article.focus({ preventScroll: true });
}

function listen() {
  const labels = listenToKeys(page, say);
  for (const each of document.querySelectorAll(".verdict")) each.addEventListener("click", () => shown() && labels[each.dataset.key]());
  for (const tab of document.querySelectorAll(".tab")) tab.addEventListener("click", () => show(tab.dataset.view));
  const clicks = { previous: () => move(-1), next: () => move(1), undo: say.undo, unlabelled: nextOpen, fresh: takeIn, position: page.openJump };
  for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
  byId("help-open").addEventListener("click", page.openHelp);
  byId("filter-open").addEventListener("click", () => openFilter(form.hidden));
  byId("filter-close").addEventListener("click", () => openFilter(false));
  note.addEventListener("focus", () => { note.dataset.trace = current(); });
  note.addEventListener("input", () => sayNote(true));
  note.addEventListener("blur", () => {
    sayNote(true);
    desk.saver.release();
    for (const trace of desk.saver.stuck.keys()) setTimeout(() => showConflict(trace)); // once the focus has moved
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    openFilter(false);
  });
  form.addEventListener("input", () => applyFilter(chosen(form)));
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    applyFilter({ ...NO_FILTER });
  });
  window.addEventListener("focus", hear);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) desk.saver.release({ keepalive: true });
    else hear();
  });
  setInterval(() => document.hidden || hear(), NEWS);
}

async function start() {
  const index = await load();
  desk.at = index.at;
  desk.saver = new Saver(index.project, new Map(index.labels.map((label) => [label.trace, label])), changed);
  desk.trouble = (error) => {
    if (!(error instanceof Lost)) hint(error.message);
    showSaved();
  };
  desk.saver.onRetry = hear;
  desk.saver.onBack = () => hear().then(() => desk.view === "trace" && showCurrent());
  page.openJump = jumping(desk, goTo);
  page.openNaming = naming(desk, current, (modes) => {
    desk.modes = modes;
    show(desk.view);
  });
  page.openConflict = settling(desk);
  await desk.saver.adopt();
  const kept = JSON.parse(sessionStorage.getItem("place") ?? "{}");
  await applyFilter({ ...NO_FILTER, ...kept.filter });
  const open = desk.list.findIndex((id) => rail.verdictOf(desk.saver.effective(id)) === "");
  desk.place = Math.max(0, desk.byId.has(kept.id) && desk.list.includes(kept.id) ? desk.list.indexOf(kept.id) : open);
  listen();
  showSaved();
  await show(kept.view ?? "trace");
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => {
  byId("banner").hidden = false;
  byId("banner").replaceChildren(`${error.message} `, button("Reload", () => location.reload()));
});
