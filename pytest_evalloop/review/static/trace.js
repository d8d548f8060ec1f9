// One trace: its facts, and its sections in natural order; steps and prompts unfold.

import { button, count, el, time } from "./dom.js";
import { get } from "./talk.js";
import { indented, show, write } from "./text.js";

function field(id, section, number, { label, text, whole, cut }) {
  const body = el("div", { class: "text" });
  const box = el("div", { class: "field" });
  if (label) {
    const name = el("div", { class: "label" });
    write(name, label);
    box.append(name);
  }
  box.append(body);
  let all = text;
  let raw = false;
  show(body, all);
  const tools = el("div", { class: "field-tools" });
  if (!cut && indented(text)) {
    const toggle = button("as it came", () => {
      raw = !raw;
      toggle.textContent = raw ? "indented" : "as it came";
      show(body, all, { raw });
    }, { class: "quiet raw" });
    box.append(toggle);
  }
  if (cut) {
    const kept = count(text.length, "character");
    const said = el("span", {}, `The first ${kept} of ${whole.toLocaleString("en")}.`);
    const more = button("Show all", async () => {
      more.disabled = true;
      said.textContent = "Fetching all of it …";
      try {
        all = (await get("/api/text", { id, section, field: number })).text;
      } catch (error) {
        said.textContent = error.message;
        more.disabled = false;
        return;
      }
      await show(body, all);
      said.textContent = `All ${count(whole, "character")}.`;
      more.remove();
    }, { class: "quiet" });
    tools.append(said, more);
  }
  if (tools.childNodes.length) box.append(tools);
  return box;
}

function fields(id, number, section) {
  const made = section.fields.map((each, at) => field(id, number, at, each));
  return made.length ? made : [el("p", { class: "nothing" }, "Nothing.")];
}

function head(section) {
  const title = el("span", { class: "section-title" });
  write(title, section.title);
  return title;
}

function part(id, number, section, unfolded) {
  const attributes = { class: `section ${section.role}` };
  if (!section.folded) {
    const empty = section.fields.every((each) => !each.text);
    const body = empty ? [el("p", { class: "nothing" }, "Empty.")] : fields(id, number, section);
    return el("section", attributes, el("h3", {}, head(section)), ...body);
  }
  const preview = el("span", { class: "preview" });
  write(preview, section.preview);
  const box = el("details", attributes, el("summary", {}, head(section), preview));
  const fill = () => box.childElementCount === 1 && box.append(...fields(id, number, section));
  // What is folded away is not laid out before somebody looks.
  box.addEventListener("toggle", () => box.open && fill());
  if (unfolded) {
    fill();
    box.open = true;
  }
  return box;
}

function facts(outline) {
  const shown = { source: outline.source, recorded: time(outline.recorded), ...outline.facts };
  const rows = Object.entries(shown).filter(([, value]) => value !== "");
  return el("dl", { class: "facts" }, ...rows.map(([name, value]) => {
    const term = el("dt");
    const said = el("dd");
    write(term, name);
    write(said, value);
    return el("div", {}, term, said);
  }));
}

export function heading(outline) {
  const name = el("h2", { class: "trace-id" });
  write(name, outline.id);
  return name;
}

// Shows a trace; `unfolded` opens all steps and prompts.
export function showTrace(node, outline, content, unfolded) {
  const sections = content.sections.map((section, at) => part(outline.id, at, section, unfolded));
  node.replaceChildren(heading(outline), facts(outline), ...sections);
  node.dataset.id = outline.id;
  node.removeAttribute("aria-busy");
}

// Shows that a trace is on its way; nothing can be said of it before it is there.
export function showWaiting(node, outline) {
  node.replaceChildren(heading(outline), el("p", { class: "nothing" }, "Fetching …"));
  node.setAttribute("aria-busy", "true");
  delete node.dataset.id;
}

export function unfold(node) {
  const all = [...node.querySelectorAll("details")];
  const open = all.some((each) => !each.open);
  for (const each of all) each.open = open;
  return open;
}
