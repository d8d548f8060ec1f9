// What a person says of the trace in view, on its way to the saver.

import { byId } from "./dom.js";
import { asked, current, desk } from "./desk.js";
import * as rail from "./rail.js";
import { post } from "./talk.js";

const note = byId("note");

// The note in the box is said of the trace in view; `hold` waits for a pause in the typing.
export function sayNote(hold) {
  const trace = note.dataset.trace;
  const text = note.value.trim();
  if (trace && text !== desk.saver.effective(trace).note) desk.saver.say(trace, { note: text }, { hold });
}

export function leaveNote() {
  if (document.activeElement === note) sayNote(true);
  delete note.dataset.trace;
  desk.saver.release();
  note.value = "";
}

// Everything that can be said; `page` goes on to other traces and gives hints.
export function labelling(page) {
  function pass() {
    desk.saver.say(current(), rail.passChange(desk.saver.effective(current()), desk.modes));
    page.move(1);
  }

  function fail() {
    const label = desk.saver.effective(current());
    desk.saver.say(current(), rail.failChange);
    if (!label.note) note.focus();
    page.hint(desk.modes.length ? "Esc, then the keys of the modes that occur; Enter goes on." : "Enter saves the note and goes on.");
  }

  function defer() {
    desk.saver.say(current(), rail.deferChange);
    page.move(1);
  }

  function mode(trace, mode) {
    desk.saver.say(trace, rail.modeChange(desk.saver.effective(trace), mode));
  }

  function rest() {
    const rest = rail.rest(desk.saver.effective(current()), desk.modes);
    if (rest.modes) desk.saver.say(current(), rest);
    page.move(1);
  }

  async function undo() {
    sayNote(true);
    if (!(await desk.saver.flush())) {
      page.hint("Undo waits: first everything has to be saved.");
      return;
    }
    const answer = await asked(() => post("/api/undo", {}));
    if (!answer) {
      page.hint("Undo was not answered. Look at the label when the server is back, and press u again if need be.");
      return;
    }
    const { label } = answer;
    if (!label) {
      page.hint("There is nothing to undo.");
      return;
    }
    desk.saver.take(label.trace, label);
    note.blur();
    if (desk.byId.has(label.trace)) await page.goTo(label.trace);
    page.changed(label.trace);
    page.hint(`Taken back, in ${label.trace}.`);
  }

  return { pass, fail, defer, mode, rest, undo };
}
