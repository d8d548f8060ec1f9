// Requests to the server: JSON both ways, a token with every change, and two kinds of failure.

const PATIENCE = 10_000; // milliseconds; loopback answers in a few

let token = document.querySelector("meta[name=token]").content;

// The server does not answer, or cannot write just now: trying again may help.
export class Lost extends Error {}

// The server says no, and would say so again.
export class Refused extends Error {
  constructor(status, body) {
    super(body.error ?? `The server answered with status ${status}.`);
    this.status = status;
    this.body = body;
  }
}

async function ask(path, options = {}) {
  let response;
  let body = {};
  try {
    response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE), ...options });
    body = await response.json();
  } catch {
    if (!response || response.ok) throw new Lost("The server does not answer.");
  }
  if (response.ok) return body;
  if (response.status === 401) throw new Lost(body.error); // what was not saved waits for the address to be opened
  if (response.status >= 500) throw new Lost(body.error ?? `The server failed (status ${response.status}); its terminal says why.`);
  throw new Refused(response.status, body);
}

export function get(path, parameters = []) {
  const query = new URLSearchParams(parameters).toString();
  return ask(query ? `${path}?${query}` : path);
}

export async function post(path, body, { keepalive = false } = {}) {
  const send = () =>
    ask(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-evalloop-token": token },
      body: JSON.stringify(body),
      keepalive,
    });
  try {
    return await send();
  } catch (error) {
    if (error.status !== 403) throw error;
    token = (await get("/api/token")).token; // the server was started anew
    return send();
  }
}
