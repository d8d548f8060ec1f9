// Which key does what: nothing that is typed into a field, and nothing that belongs to the browser.

import { byId } from "./dom.js";
import { current, desk } from "./desk.js";
import { modeKeys } from "./rail.js";
import { unfold } from "./trace.js";

const EVERYWHERE = new Set(["u", "g", "/", "?", "m", "l", "o", "+"]);
const REPEATING = new Set(["ArrowRight", "ArrowLeft", "j", "k"]);

// Listens to the keyboard; `say` is what can be said of a trace, `page` everything else.
export function listenToKeys(page, say) {
  const note = byId("note");
  const form = byId("filters");
  const labels = { 1: say.pass, 2: say.fail, d: say.defer, 0: say.rest };
  const next = () => page.move(1);
  const previous = () => page.move(-1);
  const commands = {
    ArrowRight: next, j: next, Enter: next, ArrowLeft: previous, k: previous,
    ".": page.nextOpen, "+": page.takeIn, u: say.undo, n: () => note.focus(),
    s: () => { desk.unfolded = unfold(byId("trace")); },
    g: page.openJump, "/": () => page.openFilter(true), "?": page.openHelp, m: () => page.openNaming(),
    l: () => page.show(desk.view === "notes" ? "trace" : "notes"),
    o: () => page.show(desk.view === "overview" ? "trace" : "overview"),
  };

  function pressed(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    // What was just closed keeps the focus until the next frame; a quick key is not meant for it.
    if (target.matches("input, select, textarea") && !target.closest("dialog, [hidden]")) {
      if (key === "Escape") {
        if (target === note) note.blur();
        else page.openFilter(false);
        event.preventDefault();
      } else if (target === note && key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        page.move(1);
      }
      return;
    }
    if (key === "Escape") {
      if (!form.hidden) page.openFilter(false);
      else if (desk.view !== "trace") page.show("trace");
      return;
    }
    if (key === "Enter" && target.matches("button, summary, a")) return; // presses what has the focus
    const act = command(key);
    if (!act) return;
    event.preventDefault();
    if (!event.repeat || REPEATING.has(key)) act();
  }

  function command(key) {
    if (key in commands) return desk.view === "trace" || EVERYWHERE.has(key) ? commands[key] : null;
    if (!page.shown()) return null; // nothing is said of a trace that is not in view
    const mode = modeKeys(desk.modes).get(key);
    return mode ? () => say.mode(current(), mode) : labels[key];
  }

  document.addEventListener("keydown", pressed);
  return labels;
}
