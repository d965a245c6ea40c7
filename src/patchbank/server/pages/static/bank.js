// The Bank page: limits to drag above the scores, the references, and the history.

import { ask, of, pageOf, Problem, send } from "./api.js";
import { BankMap } from "./bank_map.js";
import { attempt, element, figure, find, smallPicture, toast, whenPressed } from "./elements.js";
import { facts } from "./evidence.js";
import { KnownDefects } from "./known_defects.js";
import { ScoreChart } from "./score_chart.js";
import { Study } from "./study.js";
import { Teaching } from "./teaching.js";
import { baseName, count, dateTime, independentOf, number, percent, sentence } from "./words.js";

const page = document.querySelector(".bank");
const { category } = page.dataset;
const MOST = 1000;
// So many rows of references are shown at first.
const ROWS = 5;

let bank;
let references = [];
let inspections = [];
let allShown = false;
const chart = new ScoreChart(find("chart"), find("pass_below"), find("fail_above"), drawCounts);

const study = new Study(category);
const map = new BankMap(category);
const known = new KnownDefects(category, chart, (rate) => setLimits({ false_alarm_rate: rate }));
const teaching = new Teaching(category, load, change);

// Change the bank that is shown, and no other: where somebody else changed it meanwhile, that is shown first.
async function change(work) {
  try {
    // Before there is anything to see, whatever is in use is meant.
    return await work(bank ? `expected_version=${bank.bank_version}` : "");
  } catch (error) {
    if (error instanceof Problem && error.isStale) {
      teaching.references.clear();
      await load();
    }
    throw error;
  }
}

// Each part is shown as soon as it is there: drift and known defects take seconds, and nothing waits for them.
async function load() {
  const drawn = loadBank();
  attempt(() => Promise.all([
    Promise.all([ask(of(category, "thresholds")), drawn]).then(([limits]) => showLimits(limits)),
    ask(of(category, "history")).then(({ items }) => drawHistory(items)),
    teaching.drawHeld(),
    ask(of(category, "drift")).then(drawDrift),
    map.load(),
  ]));
  await drawn;
}

async function loadBank() {
  const summed = ask(of(category)).then((found) => {
    bank = found;
    find("summary").textContent = `Version ${bank.bank_version}: ${count(bank.images, "reference")}${independentOf(bank.images, bank.independent_references)}; ${count(bank.bank_size, "patch", "patches")}; ${count(bank.inspections, "inspection")}. Changed last on ${dateTime(bank.learned_at)}.`;
  });
  [, references, inspections] = await Promise.all([
    summed,
    ask(`${of(category, "references")}?limit=${MOST}`).then((found) => found.items),
    ask(`${of(category, "inspections")}?limit=500`).then((found) => found.items),
  ]);
  find("limits").hidden = false;
  chart.show({
    good: references.map((item) => item.score).filter((score) => score !== null),
    inspected: inspections.map((item) => item.score),
    pass_below: bank.pass_below,
    fail_above: bank.fail_above,
  });
  drawReferences();
}

async function showLimits(limits) {
  find("promise").textContent = `In use: ${limits.calibration}.`;
  drawCurve(limits);
  const withDefects = await known.load();
  if (withDefects !== null) drawCurve(withDefects);
}

// Whether what comes from the line still looks like the references.
function drawDrift(found) {
  find("drift").className = found.changed ? "notice careful" : "notice";
  find("drift").replaceChildren(element("p", {}, sentence(found.verdict)), ...[...found.remarks, found.guarantee].map((text) => element("p", { class: "small" }, sentence(text))));
  const format = (value) => (value === null ? "–" : value.toPrecision(3));
  find("trends").querySelector("tbody").replaceChildren(...found.trends.map((trend) => element("tr", {},
    element("td", {}, { score: "score, times the limit", outside: "patches unlike any reference, share" }[trend.series] ?? trend.series),
    element("td", { class: "number" }, format(trend.last)),
    element("td", { class: "number" }, trend.references ? `${format(trend.references[0])} to ${format(trend.references[1])}` : "–"))));
}

async function suggest() {
  find("suggested").replaceChildren(element("p", { class: "faint" }, "Looking at recent images; this takes up to a minute…"));
  const found = await attempt(() => ask(`${of(category, "drift")}?suggested=true`));
  const images = found?.suggested?.images ?? [];
  find("suggested").replaceChildren(...(images.length
    ? images.map((item) => figure({},
      element("a", { href: pageOf(category, "records", item.inspection_id) }, element("img", smallPicture(category, item.inspection_id, 256, item.image))),
      item.image, `covers ${percent(item.covers)} of what is new; ${item.verdict}`))
    : [element("p", { class: "faint" }, "No recent image would cover more, or their images were not kept.")]));
}

// What the limits would do, as they are dragged.
function drawCounts() {
  const { passBelow, failAbove, lowest, highest } = chart;
  // Known defects may score higher than all that was there before.
  find("lowest").textContent = lowest.toPrecision(3);
  find("highest").textContent = highest.toPrecision(3);
  const good = references.filter((item) => item.score !== null);
  const of_ = (some, verdict) => some.filter((item) => chart.verdictOf(item.score) === verdict).length;
  const share = (many, all) => (all ? `${number(many)} of ${number(all)} (${percent(many / all)})` : "none yet");
  const changed = inspections.filter((item) => chart.verdictOf(item.score) !== item.verdict).length;
  find("counts").replaceChildren(...facts([
    ["Passes up to", passBelow.toPrecision(4)],
    ["Fails above", failAbove.toPrecision(4)],
    ["Good references that would fail", share(of_(good, "fail"), good.length)],
    ["Good references to review", share(of_(good, "review"), good.length)],
    ["Last inspections that would fail", share(of_(inspections, "fail"), inspections.length)],
    ["Last inspections to review", share(of_(inspections, "review"), inspections.length)],
    ["Of them, with another verdict than before", number(changed)],
    ...known.facts(),
  ]).children);
  const same = passBelow === bank.pass_below && failAbove === bank.fail_above;
  find("set").disabled = same;
  find("reset").disabled = same;
}

function drawCurve(limits) {
  find("recall").hidden = limits.known_defects === null;
  find("curve").querySelector("tbody").replaceChildren(...limits.curve.map((point) => {
    const changes = point.changes.map((each) => `${number(each.inspections)} from ${each.from} to ${each.to}`).join(", ");
    const use = element("button", { type: "button", class: "teaches", disabled: point.in_use || !point.sufficient }, point.in_use ? "in use" : "Use");
    whenPressed(use, () => setLimits({ false_alarm_rate: point.false_alarm_rate }));
    const seen = point.sufficient
      ? `${percent(point.realised_interval[0])} to ${percent(point.realised_interval[1])} of good parts fail`
      : `needs ${number(point.missing_images)} more good images`;
    return element("tr", {},
      element("td", {}, percent(point.false_alarm_rate)),
      element("td", {}, point.sufficient ? point.fail_above.toPrecision(4) : "–"),
      element("td", {}, seen),
      ...(point.recall === null ? [] : [element("td", {}, point.sufficient ? `${number(point.recall.count)} of ${number(point.recall.total)}` : "–")]),
      element("td", {}, point.sufficient ? changes || "none" : "–"),
      element("td", {}, use));
  }));
}

async function setLimits(wanted) {
  const done = await change((seen) => send(`${of(category, "thresholds")}?${seen}`, wanted, "PUT"));
  toast(`The limits are set, as version ${done.bank_version}. Images are judged by them from now on.`);
  await load();
}

function drawReferences() {
  const order = {
    unusual: (a, b) => (b.score ?? -1) - (a.score ?? -1),
    newest: (a, b) => b.reference_id - a.reference_id,
    name: (a, b) => a.name.localeCompare(b.name),
  }[find("order").value];
  const outside = references.filter((item) => item.outlier).length;
  find("outliers").textContent = outside === 0
    ? "None stands out: by the bank without it, each would pass."
    : `${outside === 1 ? "1 stands out" : `${number(outside)} stand out`}: by the bank without it, such an image would not pass. Check that it shows a good part; if not, pick it and withdraw it.`;
  const gallery = find("references");
  const first = ROWS * getComputedStyle(gallery).gridTemplateColumns.split(" ").length;
  const sorted = [...references].sort(order);
  gallery.replaceChildren(...sorted.slice(0, allShown ? undefined : first).map((item) => {
    const times = item.score === null ? "not scored" : `${(item.score / bank.fail_above).toFixed(2)} times the limit`;
    return teaching.pick(figure({ class: item.outlier ? "outlier" : "" },
      element("img", { src: item.thumbnail, alt: item.name, loading: "lazy" }),
      item.name, times, ...(item.outlier ? [element("br"), element("strong", {}, "stands out")] : [])),
    teaching.references, item.reference_id);
  }));
  const more = find("more");
  more.hidden = sorted.length <= first;
  more.textContent = allShown ? "Show fewer" : `Show all ${number(sorted.length)}`;
  more.setAttribute("aria-expanded", String(allShown));
  return first;
}

function drawHistory(items) {
  find("undo").disabled = items.length < 2;
  const names = (verb, some) => (some.length ? `; ${some.length === 1 ? baseName(some[0]) : `${number(some.length)} images`} ${verb}` : "");
  find("history").querySelector("tbody").replaceChildren(...items.map((item) => {
    const back = element("button", { type: "button", class: "teaches" }, "Go back to this");
    whenPressed(back, () => goBack(item.bank_version));
    const cause = item.same_as === null ? item.cause ?? "" : `${item.cause ?? "activate"}: same as version ${item.same_as}`;
    return element("tr", {},
      element("td", {}, `${item.bank_version}${item.state === "active" ? ", in use" : ""}`),
      element("td", {}, dateTime(item.created_at)),
      element("td", {}, cause + names("added", item.added) + names("withdrawn", item.withdrawn)),
      element("td", {}, item.actor ?? ""),
      element("td", { class: "number" }, number(item.images)),
      element("td", { class: "number" }, number(item.bank_size)),
      element("td", {}, ...(item.state === "retired" ? [back] : item.state === "pruned" ? ["no longer kept"] : [])));
  }));
}

async function goBack(version) {
  const done = await change((seen) => send(`${of(category, "undo")}?${seen}`, { version }));
  toast(`Version ${done.bank_version} is in use; it is the same as version ${done.same_as}.`);
  await load();
}

whenPressed(find("set"), () => setLimits({ pass_below: chart.passBelow, fail_above: chart.failAbove }));
find("reset").addEventListener("click", () => chart.reset());
whenPressed(find("undo"), () => goBack(null));
whenPressed(find("suggest"), suggest);
find("order").addEventListener("change", drawReferences);
find("more").addEventListener("click", () => {
  allShown = !allShown;
  const first = drawReferences();
  // The keyboard goes on with the first of those that came.
  if (allShown) find("references").children[first].focus();
});
attempt(async () => { await load(); await study.load(bank.bank_version); });
