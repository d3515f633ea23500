// What does somebody see who looks at the server? All of it comes from /api, and all texts are put in as texts.
"use strict";

const LOG_LETTERS = 200000;  // of each log are kept
const SOON = 300;            // milliseconds in which changes gather before they are asked for
const LONGEST_PAUSE = 15000; // milliseconds between two tries to connect

const models = new Map();    // by id, as the server lists them
const counts = new Map();    // who waits and is served, by model
const flights = new Map();   // requests on their way, by id
const logs = { proxy: "", upstream: "" };
let pause = 500;

const $ = (id) => document.getElementById(id);

// Asking -----------------------------------------------------------------------

async function ask(path, method = "GET", body) {
  const options = { method, headers: { Accept: "application/json" } };
  if (body !== undefined) options.body = JSON.stringify(body);
  const answer = await fetch(path, options);
  if (!answer.ok) throw await refusal(answer);
  return (answer.headers.get("Content-Type") || "").includes("json") ? answer.json() : answer.text();
}

async function refusal(answer) {
  const text = await answer.text();
  let message = text || `status ${answer.status}`;
  try {
    message = JSON.parse(text).error.message;
  } catch {
    // It is no JSON, and says what it says.
  }
  return Object.assign(new Error(message), { status: answer.status });
}

function notice(text) {
  $("notice").hidden = !text;
  $("notice").textContent = text;
}

async function order(path, method, body) {
  try {
    await ask(path, method, body);
    notice("");
  } catch (error) {
    notice(error.message);
  }
}

// Calls `todo` once, a little later, however often that is wanted until then.
function gathered(todo) {
  let due = null;
  return () => {
    due ??= setTimeout(() => {
      due = null;
      todo().catch((error) => notice(error.message));
    }, SOON);
  };
}

// Showing ----------------------------------------------------------------------

function cell(content, kind = "") {
  const td = document.createElement("td");
  td.className = kind;
  td.append(content ?? "");
  return td;
}

function button(text, todo) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", todo);
  return element;
}

function fill(id, rows, nothing) {
  const table = $(id);
  const body = table.tBodies[0];
  if (rows.length === 0) {
    const td = cell(nothing, "none");
    td.colSpan = table.tHead.rows[0].cells.length;
    rows = [[td]];
  }
  body.replaceChildren(
    ...rows.map((cells) => {
      const tr = document.createElement("tr");
      tr.append(...cells);
      return tr;
    }),
  );
}

const seconds = (value) => (value === null || value === undefined ? "" : `${value.toFixed(1)} s`);
const known = (value) => (value === null || value === undefined || value < 0 ? "" : String(value));
const path = (id) => id.split("/").map(encodeURIComponent).join("/");

function showModels() {
  const rows = [...models.values()].map((model) => {
    const name = document.createElement("span");
    if (model.peerID) {
      name.textContent = model.id;
    } else {
      const link = document.createElement("a");
      link.href = `/upstream/${path(model.id)}/`;
      link.textContent = model.id;
      name.append(link);
    }
    const about = [model.name !== model.id && model.name, model.description, model.aliases?.join(", ")];
    if (about.some(Boolean)) {
      const small = document.createElement("small");
      small.textContent = about.filter(Boolean).join(" · ");
      name.append(small);
    }
    const state = document.createElement("span");
    state.textContent = model.peerID ? `of the peer ${model.peerID}` : model.state;
    state.className = `state ${model.state || ""}`;
    const buttons = document.createElement("span");
    if (!model.peerID) {
      const target = path(model.id);
      if (model.state === "stopped") {
        buttons.append(button("Load", () => order(`/api/models/load/${target}?wait=0`, "POST")));
      } else {
        buttons.append(button("Unload", () => order(`/api/models/unload/${target}`, "POST")));
      }
    }
    const count = counts.get(model.id);
    return [
      cell(name),
      cell(state),
      cell(known(count?.waiting), "number"),
      cell(known(count?.leases), "number"),
      cell(buttons, "buttons"),
    ];
  });
  fill("models", rows, "There are no models.");
}

function showFlights() {
  const now = Date.now();
  const rows = [...flights.values()].map((flight) => [
    cell(flight.id),
    cell(flight.model),
    cell(`${flight.method} ${flight.req_path}`),
    cell(flight.remote_ip),
    cell(seconds((flight.elapsed_ms + now - flight.told) / 1000), "number"),
    cell(String(flight.resp_bytes), "number"),
    cell(button("Cancel", () => order(`/api/inflight/${flight.id}/cancel`, "POST")), "buttons"),
  ]);
  fill("flights", rows, "None.");
}

function showLog() {
  const log = $("log");
  const follows = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  log.textContent = logs[$("source").value];
  if (follows) log.scrollTop = log.scrollHeight;
}

const askQueue = gathered(async () => {
  const answer = await ask("/api/queue?limit=200");
  counts.clear();
  for (const model of answer.models) counts.set(model.model, model);
  const rows = answer.queue.map((row) => [
    cell(String(row.position)),
    cell(row.model),
    cell(seconds(row.waited), "number"),
    cell(seconds(row.estimate), "number"),
    cell(row.due_in === null ? "never" : row.due_in <= 0 ? "now" : seconds(row.due_in), "number"),
  ]);
  fill("queue", rows, "Nobody waits.");
  showModels();
});

const askActivity = gathered(async () => {
  const answer = await ask("/api/metrics/activity?limit=30");
  const rows = answer.data.map((row) => [
    cell(String(row.id)),
    cell(new Date(row.timestamp).toLocaleTimeString()),
    cell(row.model),
    cell(row.req_path),
    cell(String(row.resp_status_code)),
    cell(known(row.tokens.input_tokens), "number"),
    cell(known(row.tokens.output_tokens), "number"),
    cell(row.tokens.tokens_per_second > 0 ? row.tokens.tokens_per_second.toFixed(1) : "", "number"),
    cell(seconds(row.duration_ms / 1000), "number"),
    cell(row.error_msg || ""),
  ]);
  fill("activity", rows, "Nothing was asked yet.");
});

async function showProfiles(active) {
  const answer = await ask("/api/profiles");
  const select = $("profile");
  select.replaceChildren(new Option("none", ""), ...answer.profiles.map((each) => new Option(each.id, each.id)));
  select.value = (active === undefined ? answer.active : active) ?? "";
  $("profiles").hidden = answer.profiles.length === 0;
}

// Hearing ----------------------------------------------------------------------

function upsert(flight) {
  flights.set(flight.id, { ...flight, told: Date.now() });
}

function hear(message) {
  const data = JSON.parse(message.data);
  switch (message.type) {
    case "modelStatus":
      models.clear();
      for (const model of data) models.set(model.id, model);
      showModels();
      askQueue();
      break;
    case "inflight":
      if (data.operation === "snapshot") {
        flights.clear();
        for (const flight of data.requests || []) upsert(flight);
      } else if (data.operation === "upsert") {
        upsert(data.request);
      } else {
        flights.delete(data.id);
      }
      showFlights();
      askQueue();
      break;
    case "activity":
      askActivity();
      break;
    case "logData":
      logs[data.source] = (logs[data.source] + data.data).slice(-LOG_LETTERS);
      showLog();
      break;
    case "profileChanged":
      showProfiles(data.active).catch((error) => notice(error.message));
      break;
  }
}

// Follows the server's events until the connection ends.
async function follow() {
  const answer = await fetch("/api/events");
  if (!answer.ok) throw await refusal(answer);
  pause = 500;
  notice("");
  $("connection").textContent = "connected";
  logs.proxy = logs.upstream = "";
  askActivity();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const line = frame.split("\n").find((each) => each.startsWith("data:"));
      if (line) hear(JSON.parse(line.slice(5)));
    }
  }
}

// Shows the models that the key is for, where it may not hear of everything.
async function look() {
  const [listed, running] = await Promise.all([ask("/v1/models"), ask("/running")]);
  const states = new Map(running.running.map((each) => [each.model, each.state]));
  models.clear();
  for (const { id, name, description, meta } of listed.data) {
    const { type, peerID, aliases } = meta.llamaswap;
    if (type === "model" || type === "peer") {
      models.set(id, { id, name, description, peerID, aliases, state: states.get(id) ?? "stopped" });
    }
  }
  showModels();
}

async function live() {
  for (;;) {
    try {
      await follow();
      $("connection").textContent = "the connection has ended; trying again…";
    } catch (error) {
      notice(error.message);
      if (error.status === 403) {
        $("connection").textContent = "looked at now and then";
        await look().catch((failure) => notice(failure.message));
      } else {
        $("connection").textContent = "not connected; trying again…";
      }
    }
    await new Promise((go) => setTimeout(go, pause));
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }
}

$("source").addEventListener("change", showLog);
$("profile").addEventListener("change", () => order("/api/profiles/active", "PUT", { name: $("profile").value || null }));
$("unload-all").addEventListener("click", () => order("/api/models/unload", "POST"));
setInterval(() => {
  if (flights.size > 0 && !document.hidden) {
    showFlights();
    askQueue();
  }
}, 1000);
for (const [id, nothing] of [["models", "…"], ["queue", "Nobody waits."], ["flights", "None."], ["activity", "…"]]) {
  fill(id, [], nothing);
}
ask("/api/version").then((answer) => { $("version").textContent = answer.version; }, () => {});
live();
