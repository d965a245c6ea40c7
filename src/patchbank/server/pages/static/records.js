// The Records page: a table of inspections, filtered by the form, older ones on request.

import { ask, of, pageOf } from "./api.js";
import { attempt, element, smallPicture, verdictMark, whenPressed } from "./elements.js";
import { againstLimit, baseName, number } from "./words.js";

const table = document.querySelector(".records");
const { category } = table.dataset;
const body = table.querySelector("tbody");
const shown = document.querySelector("#shown");
const more = document.querySelector("#more");
const RANK = { pass: 0, review: 1, fail: 2 };
const VALUE = {
  inspected_at: (item) => item.inspection_id,
  verdict: (item) => RANK[item.verdict],
  score: (item) => (item.fail_above > 0 ? item.score / item.fail_above : item.score),
  p_value: (item) => item.p_value ?? 2,
  part: (item) => item.part ?? "",
  station: (item) => item.station ?? "",
  image: (item) => item.image,
  review: (item) => answerOf(item),
};
const items = [];
let next = null;
let sort = { key: "inspected_at", descending: true };

// What is empty in the form is not asked for.
const wanted = new URLSearchParams([...new URLSearchParams(location.search)].filter(([, value]) => value.trim()));
// Days are those of the reader, as the times in the table are; the service may run in another time zone.
for (const [name, after] of [["since", 0], ["until", 1]]) {
  const midnight = new Date(`${wanted.get(name)}T00:00`);
  if (isNaN(midnight)) continue;
  midnight.setDate(midnight.getDate() + after);
  wanted.set(name, midnight.toISOString());
}
document.querySelector("#csv").href = `${of(category, "inspections.csv")}?${wanted}`;

function answerOf(item) {
  if (!item.review) return "";
  return item.review.label ? `${item.review.answer}: ${item.review.label}` : item.review.answer;
}

function row(item) {
  const link = pageOf(category, "records", item.inspection_id);
  const picture = element("img", { ...smallPicture(category, item.inspection_id, 128), width: 48, height: 48 });
  picture.addEventListener("error", () => picture.remove());
  const time = new Date(item.inspected_at);
  return element("tr", {},
    element("td", { class: "picture" }, picture),
    element("td", {}, element("a", { href: link }, time.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" }))),
    element("td", {}, verdictMark(item.verdict)),
    element("td", { "data-name": "score", title: againstLimit(item) }, item.fail_above > 0 ? (item.score / item.fail_above).toFixed(2) : item.score.toPrecision(4)),
    element("td", { "data-name": "p" }, item.p_value === null ? "" : item.p_value.toPrecision(2)),
    element("td", { "data-name": "part" }, item.part ?? ""),
    element("td", { "data-name": "at" }, item.station ?? ""),
    element("td", { title: item.image }, baseName(item.image)),
    element("td", { "data-name": "answer" }, answerOf(item)),
  );
}

function draw() {
  const value = VALUE[sort.key];
  const order = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : a.inspection_id - b.inspection_id);
  const sorted = [...items].sort((a, b) => (sort.descending ? order(b, a) : order(a, b)));
  body.replaceChildren(...sorted.map(row));
  const filtered = [...wanted].length > 0;
  if (items.length === 0) {
    shown.textContent = filtered
      ? "No inspection is like this. Ask for less above, or press “Show all”."
      : "No inspections yet. Each image that is judged is recorded here: try the Inspect page.";
  } else {
    shown.textContent = `${number(items.length)} shown${next === null ? ", these are all" : "; there are older ones"}. A heading sorts what is shown. The p-value is the share of good parts that score at least as high.`;
  }
  more.hidden = next === null;
}

async function load() {
  const query = new URLSearchParams(wanted);
  query.set("limit", "50");
  if (next !== null) query.set("before", next);
  const page = await ask(`${of(category, "inspections")}?${query}`);
  items.push(...page.items);
  next = page.next;
  draw();
}

for (const heading of table.querySelectorAll("th[data-key]")) {
  heading.querySelector("button").addEventListener("click", () => {
    const { key } = heading.dataset;
    sort = { key, descending: sort.key === key ? !sort.descending : key === "inspected_at" || key === "score" || key === "verdict" };
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sort.descending ? "descending" : "ascending");
    draw();
  });
}
whenPressed(more, load);
if (await attempt(load) === null) shown.textContent = "";
