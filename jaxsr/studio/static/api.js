// The JSON API of the server. Every function rejects with a Refusal, whose message is one sentence for the reader.

let token = "";

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function send(method, path, body, options = {}) {
  const headers = { "x-jaxsr-token": token };
  let answer;
  try {
    answer = await fetch(path, { method, body, headers, credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The server does not answer; is it still running?");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) location.reload(); // the entrance
  const told = await answer.json().catch(() => ({}));
  throw new Refusal(answer.status, told.error || `The server answered ${answer.status}.`);
}

const json = async (answer) => (await answer).json();

export async function info() {
  const found = await json(send("GET", "/api/info"));
  token = found.token;
  return found;
}

export function knob(model, steps, sampler) {
  const asked = new URLSearchParams({ model });
  if (steps) asked.set("steps", steps);
  if (sampler) asked.set("sampler", sampler);
  return json(send("GET", `/api/knob?${asked}`));
}

export const card = async (model) => (await send("GET", `/api/models/${encodeURIComponent(model)}/card`)).text();

export const addPhoto = (file, name) => json(send("POST", `/api/photos?name=${encodeURIComponent(name)}`, file));

export const addFile = (file, name) => json(send("POST", `/api/files?name=${encodeURIComponent(name)}`, file));

// Returns the enlarged windows, cut apart, and what the server tells about them.
export async function look(asked) {
  const answer = await send("POST", "/api/looks", JSON.stringify(asked));
  const facts = JSON.parse(answer.headers.get("x-jaxsr-look"));
  const whole = await createImageBitmap(await answer.blob());
  const height = whole.height / asked.knobs.length;
  const cuts = asked.knobs.map((_, i) => createImageBitmap(whole, 0, i * height, whole.width, height));
  return { facts, bitmaps: await Promise.all(cuts) };
}

export const addJob = (asked) => json(send("POST", "/api/jobs", JSON.stringify(asked)));

export const cancelJob = (id) => json(send("DELETE", `/api/jobs/${id}`));

// Calls `moved` with every state of a job, and resolves with the last one.
export function watch(id, moved) {
  return new Promise((resolve, reject) => {
    const events = new EventSource(`/api/jobs/${id}/events`);
    let failures = 0;
    events.onmessage = (event) => {
      failures = 0;
      const state = JSON.parse(event.data);
      moved(state);
      if (["done", "failed", "cancelled"].includes(state.state)) {
        events.close();
        resolve(state);
      }
    };
    events.onerror = () => {
      failures += 1;
      if (failures > 5) {
        events.close();
        reject(new Refusal(0, "The server does not answer; is it still running?"));
      }
    };
  });
}
