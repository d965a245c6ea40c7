// The sinks on the Admin page: where inspections are sent to, and how that fares.

import { ask, send } from "./api.js";
import { attempt, element, find, toast, whenPressed } from "./elements.js";
import { dateTime, number, sentence } from "./words.js";

const AGAIN_MS = 5000;

function waits(sink) {
  if (!sink.waiting) return "none";
  return `${number(sink.waiting)}, the oldest of ${dateTime(sink.waiting_since)}`;
}

function gets(sink) {
  const verdicts = sink.verdicts.length === 3 ? "all inspections" : sink.verdicts.join(" and ");
  return sink.categories === null ? verdicts : `${verdicts} of ${sink.categories.join(", ")}`;
}

function state(sink) {
  if (sink.last_error === null) return element("span", { class: "verdict pass" }, "ok");
  const since = sink.delivered_at ? `nothing arrived since ${dateTime(sink.delivered_at)}` : "nothing arrived yet";
  return element("div", {}, element("span", { class: "verdict fail" }, "problem"), element("div", { class: "small" }, `${sink.last_error}${sink.failures ? `; ${since}` : ""}`));
}

function buttons(sink) {
  const test = element("button", { type: "button", "aria-label": `Send a test to ${sink.name}` }, "Send a test");
  whenPressed(test, async () => {
    test.textContent = "Sending…";
    try {
      const tried = await send(`/v1/sinks/${sink.sink_id}/test`, {});
      toast(tried.arrived ? `The test arrived at ${sink.name}.` : sentence(tried.error));
    } finally {
      test.textContent = "Send a test";
    }
  });
  const remove = element("button", { type: "button", class: "danger", "aria-label": `Remove ${sink.name}` }, "Remove");
  whenPressed(remove, async () => {
    const lost = sink.waiting ? ` ${number(sink.waiting)} that wait for it will not be sent.` : "";
    if (!window.confirm(`Send no more inspections to ${sink.name}?${lost}`)) return;
    await ask(`/v1/sinks/${sink.sink_id}`, { method: "DELETE" });
    toast(`${sink.name} is removed.`);
    await draw();
  });
  return element("div", { class: "row" }, test, remove);
}

let drawn = null;
async function draw() {
  const { items } = await ask("/v1/sinks");
  // What has not changed stays, with its buttons and the keyboard's focus.
  if (JSON.stringify(items) === drawn) return;
  drawn = JSON.stringify(items);
  find("no-sinks").hidden = items.length > 0;
  find("sinks").querySelector("tbody").replaceChildren(...items.map((sink) => element("tr", {},
    element("td", {}, sink.name, element("div", { class: "small faint" }, `added ${dateTime(sink.created_at)}, by ${sink.created_by}`)),
    element("td", { "data-name": "Target" }, sink.target),
    element("td", { "data-name": "Gets" }, gets(sink)),
    element("td", { "data-name": "Sent" }, sink.delivered_at === null ? "none" : `${number(sink.delivered)}, the last ${dateTime(sink.delivered_at)}`),
    element("td", { "data-name": "Waiting" }, waits(sink)),
    element("td", {}, state(sink)),
    element("td", {}, buttons(sink)))));
}

/** Show the fields that a target has: only MQTT has a user and a topic, and a file has no secret. */
function fit() {
  const scheme = find("sink-target").value.trim().toLowerCase().split("://")[0];
  const isMqtt = scheme === "mqtt" || scheme === "mqtts";
  const isWebhook = scheme === "http" || scheme === "https";
  for (const field of document.querySelectorAll(".of-mqtt")) field.hidden = !isMqtt;
  find("sink-secret").closest("label").hidden = !isMqtt && !isWebhook;
  find("sink-secret-is").textContent = isMqtt ? "Password" : "Secret that signs (whsec_…), made if you leave it empty";
}

whenPressed(find("add-sink"), async () => {
  const value = (id) => (find(id).closest("[hidden]") ? null : find(id).value.trim() || null);
  const [categories, verdicts] = ["category", "verdict"].map((of) => [...document.querySelectorAll(`[name=sink-${of}]:checked`)].map((box) => box.value));
  const made = await send("/v1/sinks", {
    name: find("sink-name").value, target: find("sink-target").value.trim(), categories, verdicts,
    secret: value("sink-secret"), user: value("sink-user"), topic: value("sink-topic"),
  });
  find("sink-made").hidden = made.secret === null;
  find("sink-made").querySelector("code").textContent = made.secret ?? "";
  find("add-sink").reset();
  fit();
  toast(`${made.name} is added. Send a test to see whether it arrives.`);
  await draw();
});
find("sink-target").addEventListener("input", fit);
fit();
await attempt(draw);
// Between two looks the service may be away, or the session may end: the last state stays.
setInterval(() => { if (!document.hidden) draw().catch(() => {}); }, AGAIN_MS);
