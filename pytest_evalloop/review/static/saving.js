// Changes on their way to the disk: one at a time, merged trace by trace, kept in the browser until acknowledged.

import { Lost, post } from "./talk.js";

const PAUSE = 2500; // milliseconds without a key before a note that is being typed is saved
const WAITS = [250, 500, 1000, 2000]; // milliseconds between attempts

export const EMPTY = { passed: null, deferred: false, note: "", modes: {}, by: "", at: 0, revision: 0 };

function merged(first, second) {
  const modes = { ...first.modes, ...second.modes };
  return { ...first, ...second, ...(Object.keys(modes).length ? { modes } : {}) };
}

// What a label says once a change is applied to it.
export function applied(label, change) {
  const modes = { ...label.modes, ...change.modes };
  for (const [mode, occurs] of Object.entries(modes)) if (occurs === null) delete modes[mode];
  return { ...label, ...change, modes };
}

// What is left of a change once a label says the rest already.
function remaining(label, change) {
  const left = {};
  for (const name of ["passed", "deferred", "note"])
    if (name in change && change[name] !== label[name]) left[name] = change[name];
  const modes = Object.entries(change.modes ?? {}).filter(([mode, occurs]) => (label.modes[mode] ?? null) !== occurs);
  if (modes.length) left.modes = Object.fromEntries(modes);
  return left;
}

export class Saver {
  constructor(project, labels, changed) {
    this.labels = labels; // by trace: what is on disk, as far as this page knows
    this.changed = changed; // called whenever state() or effective() may say something else
    this.waiting = new Map(); // by trace: {revision, change, hold}
    this.stuck = new Map(); // by trace: {revision, change, error, theirs}
    // Sent and not acknowledged: sent again word for word, so that the server knows what it has already.
    this.sent = []; // of {trace, revision, change}
    this.busy = false;
    this.lost = "";
    this.attempts = 0;
    this.acknowledged = 0;
    this.key = `evalloop:${project}:`;
  }

  label(trace) {
    return this.labels.get(trace) ?? EMPTY;
  }

  effective(trace) {
    let label = this.label(trace);
    for (const each of this.sent) if (each.trace === trace) label = applied(label, each.change);
    for (const map of [this.stuck, this.waiting]) if (map.has(trace)) label = applied(label, map.get(trace).change);
    return label;
  }

  state() {
    const unsaved = new Set([...this.waiting.keys(), ...this.stuck.keys(), ...this.sent.map((each) => each.trace)]);
    const name = this.lost ? "lost" : this.stuck.size ? "stuck" : unsaved.size ? "saving" : "saved";
    return { name, unsaved: unsaved.size, reason: this.lost };
  }

  // Says something of a trace. With `hold` it waits for a pause in the typing, or for release().
  say(trace, change, { hold = false } = {}) {
    if (this.stuck.has(trace)) {
      const entry = this.stuck.get(trace);
      entry.change = merged(entry.change, change);
      this.keep();
      this.changed(trace);
      return;
    }
    const entry = this.waiting.get(trace) ?? { revision: this.label(trace).revision, change: {}, hold: true };
    entry.change = merged(entry.change, change);
    if (!this.sent.some((each) => each.trace === trace)) entry.change = remaining(this.label(trace), entry.change);
    entry.hold &&= hold;
    if (Object.keys(entry.change).length) this.waiting.set(trace, entry);
    else this.waiting.delete(trace);
    clearTimeout(this.pause);
    if (hold) this.pause = setTimeout(() => this.release(), PAUSE);
    this.keep();
    this.changed(trace);
    this.pump();
  }

  release({ keepalive = false } = {}) {
    clearTimeout(this.pause);
    for (const entry of this.waiting.values()) entry.hold = false;
    return this.pump({ keepalive });
  }

  async pump({ keepalive = false } = {}) {
    if (this.busy || this.retry) return;
    if (!this.sent.length) {
      const next = [...this.waiting].find(([, entry]) => !entry.hold);
      if (!next) return;
      const [trace, { revision, change }] = next;
      this.waiting.delete(trace);
      this.sent.push({ trace, revision, change });
    }
    const [first] = this.sent;
    this.busy = true;
    try {
      const { label } = await post("/api/label", first, { keepalive });
      this.sent.shift();
      this.take(first.trace, label);
      this.recovered();
    } catch (error) {
      if (error instanceof Lost) this.lose(error.message);
      else {
        this.sent.shift();
        this.refused(first, error);
        this.recovered();
      }
    }
    this.busy = false;
    this.keep();
    this.changed(first.trace);
    this.pump();
  }

  take(trace, label) {
    this.labels.set(trace, label);
    this.acknowledged += 1;
    const entry = this.waiting.get(trace);
    if (!entry) return;
    entry.revision = label.revision;
    entry.change = remaining(label, entry.change);
    if (!Object.keys(entry.change).length) this.waiting.delete(trace);
  }

  refused({ trace, revision, change }, error) {
    const later = this.waiting.get(trace);
    this.waiting.delete(trace);
    const theirs = error.status === 409 ? error.body.label : null;
    if (theirs) this.labels.set(trace, theirs);
    this.stuck.set(trace, { revision, change: merged(change, later?.change ?? {}), error: error.message, theirs });
  }

  // Notes that the server is gone, and tries again in a while.
  lose(reason) {
    this.lost = reason;
    const wait = WAITS[Math.min(this.attempts, WAITS.length - 1)];
    this.attempts += 1;
    this.retry ??= setTimeout(() => this.again(), wait);
  }

  async again() {
    clearTimeout(this.retry);
    this.retry = null;
    if (this.sent.length || this.waiting.size) await this.release();
    else await this.onRetry();
  }

  recovered() {
    if (!this.lost) return;
    this.lost = "";
    this.attempts = 0;
    clearTimeout(this.retry);
    this.retry = null;
    this.onBack();
    this.pump();
  }

  // Settles what could not be saved: `change` is sent on top of what is there now, null drops it.
  settle(trace, change) {
    this.stuck.delete(trace);
    this.keep();
    if (change) this.say(trace, change);
    else this.changed(trace);
  }

  idle() {
    return !this.sent.length && !this.waiting.size && !this.stuck.size;
  }

  // Waits until nothing is on its way; false if something cannot be saved.
  async flush() {
    this.release();
    while (this.busy) await new Promise((done) => setTimeout(done, 5));
    return this.idle();
  }

  // Keeps what is not on disk where a reload, or a crash of the browser, finds it.
  keep() {
    const unsent = [...this.stuck, ...this.waiting].map(([trace, { revision, change }]) => ({ trace, revision, change }));
    const entries = [...this.sent.map((each) => ({ ...each, sent: true })), ...unsent];
    try {
      if (entries.length) localStorage.setItem(this.key + this.tab, JSON.stringify(entries));
      else localStorage.removeItem(this.key + this.tab);
    } catch {
      // Without storage nothing outlives the page; what is open here is still saved.
    }
  }

  // Takes over what tabs that are gone, or this one before a reload, left unsaved.
  async adopt() {
    const held = await this.claim();
    for (const key of Object.keys(localStorage)) {
      if (!key.startsWith(this.key) || (key !== this.key + this.tab && held.has(key))) continue;
      let entries = [];
      try {
        entries = JSON.parse(localStorage.getItem(key));
      } catch {
        continue;
      }
      if (key !== this.key + this.tab) localStorage.removeItem(key);
      for (const { trace, revision, change, sent } of entries) {
        const before = this.waiting.get(trace);
        if (sent) this.sent.push({ trace, revision, change });
        else this.waiting.set(trace, { revision, hold: false, change: merged(before?.change ?? {}, change) });
      }
    }
    this.keep();
    this.pump();
  }

  // Gives this tab a name of its own, also if it is a copy of another, and returns the keys of tabs that are open.
  async claim() {
    const name = () => `${Date.now().toString(36)}${Math.random().toString(36).slice(2)}`;
    this.tab = sessionStorage.getItem("tab") ?? name();
    for (;;) {
      const got = await new Promise((answer) => {
        // A page that is just being reloaded lets go in a moment; a copied tab does not.
        const hold = () => (answer(true), new Promise(() => {}));
        navigator.locks.request(this.key + this.tab, { signal: AbortSignal.timeout(300) }, hold).catch(() => answer(false));
      });
      if (got) break;
      this.tab = name();
    }
    sessionStorage.setItem("tab", this.tab);
    return new Set((await navigator.locks.query()).held.map((lock) => lock.name));
  }
}
