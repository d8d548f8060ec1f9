// Elements are made from text alone: nothing that a trace says can become markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

export function button(text, act, attributes = {}, ...children) {
  const made = el("button", { type: "button", ...attributes }, text, ...children);
  made.addEventListener("click", (event) => {
    if (event.detail) made.blur(); // after a click of the mouse Enter means the page again, not this button
    act(event);
  });
  return made;
}

// Fills a node anew, and gives the focus back to what stands in the place of what had it.
export function keepingFocus(node, fill) {
  const had = node.contains(document.activeElement) ? document.activeElement : null;
  const row = had?.closest("[data-id]")?.dataset.id;
  const same = (each) =>
    each.tagName === had.tagName && each.id === had.id && each.className === had.className &&
    each.dataset.mode === had.dataset.mode && each.closest("[data-id]")?.dataset.id === row;
  fill(node);
  if (had) [...node.querySelectorAll(had.tagName)].find(same)?.focus({ preventScroll: true });
}

export const kbd = (key) => el("kbd", {}, key);

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function percent(share) {
  const value = 100 * share;
  return `${value < 10 && value > 0 && value % 1 ? value.toFixed(1) : Math.round(value)} %`;
}

const CLOCK = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };

export function time(seconds) {
  return seconds > 0 ? new Date(1000 * seconds).toLocaleString("sv", CLOCK) : "";
}
