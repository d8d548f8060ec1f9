// How a text is made readable without becoming anything but text: every character stays, or shows as its name.

const LONGEST_JSON = 200_000;
const BLOCK = 40_000; // characters laid out together
const BREATH = 25; // blocks between two frames

const C0 = "NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US";
const NAMES = new Map([
  ...C0.split(" ").entries(),
  [0x00ad, "SHY"], [0x061c, "ALM"], [0x200b, "ZWSP"], [0x200e, "LRM"], [0x200f, "RLM"], [0x202a, "LRE"],
  [0x202b, "RLE"], [0x202c, "PDF"], [0x202d, "LRO"], [0x202e, "RLO"], [0x2060, "WJ"], [0x2066, "LRI"],
  [0x2067, "RLI"], [0x2068, "FSI"], [0x2069, "PDI"], [0xfeff, "BOM"], [0x7f, "DEL"],
]);

// Terminal sequences whole, then single characters that would act on the page's text without being seen.
const UNSEEN =
  /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]+/gu;

function nameOf(found) {
  const code = found.codePointAt(0);
  if (code === 0x1b) return `ESC${found.slice(1)}`.replace(/[\x00-\x1f]/g, (each) => NAMES.get(each.charCodeAt(0)));
  if (code >= 0xe0000) return `tags: ${[...found].map((each) => String.fromCodePoint(each.codePointAt(0) & 0x7f)).join("")}`;
  return NAMES.get(code) ?? `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}

function unseen(found) {
  const mark = document.createElement("span");
  mark.className = "unseen";
  mark.textContent = nameOf(found);
  mark.title = [...found].slice(0, 40).map((each) => `U+${each.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`).join(" ");
  return mark;
}

// Adds a text to a node, with marks in place of what could not be seen.
export function write(node, text) {
  let last = 0;
  const clean = text.includes("\r\n") ? text.replaceAll("\r\n", "\n") : text;
  for (const found of clean.matchAll(UNSEEN)) {
    if (found.index > last) node.append(clean.slice(last, found.index));
    node.append(unseen(found[0]));
    last = found.index + found[0].length;
  }
  if (last < clean.length) node.append(last ? clean.slice(last) : clean);
}

function span(node, name, text) {
  const made = document.createElement("span");
  made.className = name;
  write(made, text);
  node.append(made);
}

// Indents JSON token by token, so that numbers and doubled keys stay as they were written; null if it is none.
export function indented(text) {
  const first = text.trimStart()[0];
  if ((first !== "{" && first !== "[") || text.length > LONGEST_JSON) return null;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gs) ?? [];
  const out = [];
  let depth = 0;
  const plain = (token) => {
    if (out.length && !out.at(-1)[0]) out.at(-1)[1] += token;
    else out.push(["", token]);
  };
  const line = () => plain(`\n${"  ".repeat(depth)}`);
  tokens.forEach((token, at) => {
    const closes = tokens[at + 1] === "}" || tokens[at + 1] === "]";
    if (token === "{" || token === "[") {
      plain(token);
      depth += 1;
      if (!closes) line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      if (!["{", "["].includes(tokens[at - 1])) line();
      plain(token);
    } else if (token === ",") {
      plain(token);
      line();
    } else if (token === ":") plain(": ");
    else if (token[0] === '"') out.push([tokens[at + 1] === ":" ? "json-key" : "json-text", token]);
    else out.push(["json-value", token]);
  });
  return out;
}

const MARKDOWN = /^#{1,6} \S|^```|\*\*\S[^*\n]*\*\*|^> \S/m;
const INLINE = /`[^`\n]+`|\*\*\S[^*\n]*\*\*/g;

// Sets headings, code and bold words apart; the marks themselves stay, since they are part of the output.
function writeMarkdown(node, text) {
  let code = false;
  const lines = text.split("\n");
  lines.forEach((plain, at) => {
    const line = at < lines.length - 1 ? `${plain}\n` : plain;
    const fence = plain.startsWith("```");
    if (fence || code) {
      span(node, "md-fence", line);
      if (fence) code = !code;
    } else if (/^#{1,6} \S/.test(plain)) span(node, "md-heading", line);
    else if (plain.startsWith("> ")) span(node, "md-quote", line);
    else {
      let last = 0;
      for (const found of line.matchAll(INLINE)) {
        write(node, line.slice(last, found.index));
        span(node, found[0][0] === "`" ? "md-code" : "md-bold", found[0]);
        last = found.index + found[0].length;
      }
      write(node, line.slice(last));
    }
  });
}

function aligned(text) {
  const lines = text.slice(0, 4000).split("\n");
  const columns = lines.filter((line) => /^\s{2,}\S|\t|\S {3,}\S|^\s*[|+]/.test(line)).length;
  return lines.length > 3 && columns > 0.4 * lines.length;
}

function* blocks(text) {
  for (let from = 0; from < text.length; ) {
    let to = Math.min(text.length, from + BLOCK);
    const line = to < text.length ? text.lastIndexOf("\n", to) : -1;
    if (line > from + BLOCK / 2) to = line + 1;
    else if (to < text.length && /[\ud800-\udbff]/.test(text[to - 1])) to += 1;
    yield text.slice(from, to);
    from = to;
  }
}

const frame = () => new Promise((done) => requestAnimationFrame(done));

// Fills a node with a text; a long one block by block, so that the page stays quick. `raw` leaves JSON as it came.
export async function show(node, text, { raw = false } = {}) {
  const json = raw ? null : indented(text);
  node.replaceChildren();
  node.classList.toggle("mono", json !== null || aligned(text));
  if (json) {
    for (const [kind, token] of json) {
      if (kind) span(node, kind, token);
      else write(node, token);
    }
    return;
  }
  if (text.length <= BLOCK) {
    if (MARKDOWN.test(text)) writeMarkdown(node, text);
    else write(node, text);
    return;
  }
  let made = 0;
  for (const part of blocks(text)) {
    const block = document.createElement("div");
    block.className = "block";
    write(block, part);
    node.append(block);
    made += 1;
    if (made % BREATH === 0) await frame();
    if (!node.isConnected && made > BREATH) return; // the reader went on
  }
}
