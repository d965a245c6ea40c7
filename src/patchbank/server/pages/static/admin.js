// The Admin page: keys, storage, health, and the log of changes.

import { ask, send } from "./api.js";
import { attempt, copy, element, find, toast, whenPressed } from "./elements.js";
import { facts } from "./evidence.js";
import { count, dateTime, number } from "./words.js";

const auditCategory = find("audit-category");
const time = (text) => (text ? dateTime(text) : "never");
const cells = (...values) => element("tr", {}, ...values.map((value) => element("td", {}, value ?? "")));
const size = (bytes) => (bytes === null ? "no limit" : `${(bytes / 1e6).toLocaleString([], { maximumFractionDigits: 1 })} MB`);

async function drawKeys() {
  const { items } = await ask("/v1/keys");
  find("open").hidden = items.some((key) => key.revoked_at === null);
  if (!find("open").hidden) find("key-role").value = "admin";
  find("keys").querySelector("tbody").replaceChildren(...items.map((key) => {
    const revoke = element("button", { type: "button", class: "danger" }, "Revoke");
    whenPressed(revoke, async () => {
      if (!window.confirm(`Revoke the key of ${key.name}? Whoever uses it is refused within a second.`)) return;
      await send(`/v1/keys/${key.key_id}/revoke`, {});
      toast(`The key of ${key.name} is revoked.`);
      await drawKeys();
    });
    return cells(key.name, key.role, `${time(key.created_at)}, by ${key.created_by}`, time(key.last_used_at),
      key.revoked_at === null ? "yes" : `revoked ${time(key.revoked_at)}, by ${key.revoked_by}`, key.revoked_at === null ? revoke : "");
  }));
}

async function drawUses() {
  const { items } = await ask("/v1/keys/uses?limit=100");
  find("uses").querySelector("tbody").replaceChildren(...items.map((use) => {
    const row = cells(time(use.last_at), use.name || "(no valid key)", use.address, use.action, use.outcome, number(use.times));
    row.lastElementChild.className = "number";
    return row;
  }));
}

async function drawStorage() {
  const found = await ask("/v1/storage");
  const images = { all: "of all inspections", "not-pass": "of inspections that did not pass", none: "none" };
  const days = found.keep_inspections_days === null ? "for ever" : count(found.keep_inspections_days, "day");
  find("storage").replaceChildren(facts([
    ["Database", `PostgreSQL ${found.postgresql} with pgvector ${found.pgvector}, ${found.embedded ? "embedded" : "on your server"}: ${size(found.size_bytes)}`],
    ["Inspections and their images", size(found.inspections_bytes)],
    ["Images that are kept", `${images[found.keep_images]} (PATCHBANK_KEEP_IMAGES)`],
    ["Inspections are kept", `${days} (PATCHBANK_KEEP_INSPECTIONS_DAYS)`],
    ["Space for inspections", `${size(found.keep_inspections_bytes)} (PATCHBANK_KEEP_INSPECTIONS_BYTES)`],
    ["To be removed within the hour", count(found.due, "inspection")],
    ["Versions of a bank", `at least the last ${found.keep_versions}, and those of ${count(found.keep_days, "day")} (PATCHBANK_KEEP_VERSIONS, PATCHBANK_KEEP_DAYS)`],
  ]));
}

// What an entry records, to be read: numbers as elsewhere, and nothing of what has no value.
function inWords(value, between = ", ") {
  if (Array.isArray(value)) return value.map((each) => inWords(each)).join(", ");
  if (typeof value === "number") return Number.isInteger(value) ? number(value) : value.toPrecision(4);
  if (value === true || value === false) return value ? "yes" : "no";
  if (typeof value !== "object") return String(value);
  return Object.entries(value).filter(([, each]) => each !== null && !(Array.isArray(each) && each.length === 0))
    .map(([name, each]) => `${name.replaceAll("_", " ")}${between === "; " ? ":" : ""} ${inWords(each)}`).join(between);
}

// Of removed categories too.
async function drawLogs() {
  const { items } = await ask("/v1/audit");
  auditCategory.replaceChildren(...items.map((log) => element("option", { value: log.category_id }, log.removed ? `${log.category} (removed, no. ${log.category_id})` : log.category)));
  auditCategory.parentElement.hidden = items.length === 0;
  await drawAudit(true);
}

let before = null;
async function drawAudit(fromStart) {
  if (!auditCategory.value) return;
  const rows = find("audit").querySelector("tbody");
  if (fromStart) { rows.replaceChildren(); before = null; }
  const query = new URLSearchParams({ limit: 50, ...(before === null ? {} : { before }) });
  const page = await ask(`/v1/audit/${auditCategory.value}?${query}`);
  before = page.next;
  rows.append(...page.items.map((event) => {
    const detail = inWords(event.detail, "; ");
    return cells(String(event.position), time(event.happened_at), event.actor, event.kind, detail.length > 200 ? `${detail.slice(0, 200)}…` : detail);
  }));
  find("older").hidden = before === null;
}

whenPressed(find("create"), async () => {
  const isFirst = !find("open").hidden;
  const made = await send("/v1/keys", { name: find("key-name").value, role: find("key-role").value });
  find("secret").hidden = false;
  find("secret").querySelector("code").textContent = made.secret;
  find("key-name").value = "";
  // From the first key on, the service asks for one: this page stays as it is until the key is copied.
  if (isFirst) {
    find("create").hidden = true;
    find("open").hidden = true;
    find("secret").append(element("form", { action: "/login", method: "post" },
      element("input", { type: "hidden", name: "key", value: made.secret }), element("input", { type: "hidden", name: "next", value: "/admin" }),
      element("button", { class: "primary" }, "I have copied it: log in with it")));
  } else {
    await drawKeys();
  }
});
for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => copy(button.previousElementSibling));
find("uses").addEventListener("toggle", () => attempt(drawUses));
whenPressed(find("check"), async () => {
  const { items } = await ask("/v1/doctor");
  find("findings").querySelector("tbody").replaceChildren(...items.map((item) => cells(
    element("span", { class: `verdict ${item.healthy ? "pass" : "fail"}` }, item.healthy ? "ok" : "problem"), item.name, item.text)));
});
whenPressed(find("verify"), async () => {
  const found = await ask("/v1/audit/verify");
  const problems = found.logs.filter((log) => log.problem !== null);
  const events = found.logs.reduce((sum, log) => sum + log.events, 0);
  find("verified").hidden = false;
  find("verified").className = found.passed ? "notice" : "notice bad";
  find("verified").textContent = found.passed
    ? `All ${count(events, "entry", "entries")} of ${count(found.logs.length, "log")} are as they were written.`
    : problems.map((log) => `${log.category}: ${log.problem}`).join("; ");
});
whenPressed(find("older"), () => drawAudit(false));
auditCategory.addEventListener("change", () => attempt(() => drawAudit(true)));
await attempt(() => Promise.all([drawKeys(), drawStorage(), drawLogs()]));
