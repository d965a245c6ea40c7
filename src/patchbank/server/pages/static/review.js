// The Review page: is a part good or defective? All by keyboard; what comes next is fetched before it is asked for.

import { ask, of, pageOf, send } from "./api.js";
import { attempt, element, find, smallPicture, stripButton, toast, verdictMark } from "./elements.js";
import { defects, facts, figures, headline, references } from "./evidence.js";
import { Layers } from "./layers.js";
import { clock, number, sentence } from "./words.js";

const page = document.querySelector("#review");
const { category } = page.dataset;
const layers = new Layers(page.querySelector(".layers"), find("opacity"));
const AHEAD = 3;
// Milliseconds: a part takes no answer before it was seen, nor a confirmation before the effect was read. Whatever is
// pressed before is meant for something else; nothing counts until there was a pause, for a word typed ahead has an S or a G.
const SEEN = 150;
const READ = 400;
const PAUSE = 400;
// Whoever goes on at once leaves the service in peace.
const SETTLED = 300;
// Recent parts that are judged again as if the part were good: more would not be there when they are wanted.
const JUDGED_AGAIN = 30;

let queue = [];
let waiting = 0;
let labels = [];
let busy = false;
// Who may only look has no buttons: an engineer's key answers.
const mayAnswer = document.body.dataset.role !== "operator";
let answersFrom = 0; // when the next answer counts
let foreseen = null; // what "good" would change, for the part that is shown
let question = null; // "good" was said of the part that is shown, and what it would change is to be confirmed
const looks = new Map();

function look(item) {
  if (!looks.has(item.inspection_id)) {
    const found = ask(of(category, "inspections", item.inspection_id, "review"));
    found.catch(() => looks.delete(item.inspection_id));
    looks.set(item.inspection_id, found);
  }
  return looks.get(item.inspection_id);
}

// The browser keeps the pictures, so that they are there when their turn comes.
async function prepare(item) {
  if (looks.has(item.inspection_id)) return;
  const base = of(category, "inspections", item.inspection_id);
  await Promise.all([look(item), fetch(`${base}/picture?optional=true`), fetch(`${base}/map?optional=true`)]).catch(() => {});
}

async function refill() {
  const found = await ask(`${of(category, "review")}?limit=50`);
  waiting = found.waiting;
  const known = new Set(queue.map((item) => item.inspection_id));
  queue.push(...found.items.filter((item) => !known.has(item.inspection_id)));
}

async function show() {
  const [item] = queue;
  find("waiting").textContent = waiting === 1 ? "1 part waits for an answer" : `${number(waiting) || "No"} parts wait for an answer`;
  find("none").hidden = item !== undefined;
  page.hidden = item === undefined;
  reset();
  wait(SEEN);
  if (foreseen?.item !== item) {
    foreseen?.leave();
    foreseen = item && mayAnswer ? new Foreseen(item) : null;
  }
  if (item === undefined) return;
  layers.show(item);
  describe(item, null);
  find("next").closest("section").hidden = queue.length < 2;
  find("next").replaceChildren(...queue.slice(1, 13).map((each) => {
    const button = stripButton(each, each.image);
    button.addEventListener("click", () => {
      queue = [each, ...queue.filter((other) => other !== each)];
      show();
    });
    return element("li", {}, button);
  }));
  const found = await attempt(() => look(item));
  if (found !== null && queue[0] === item) describe(item, found);
  for (const each of queue.slice(1, 1 + AHEAD)) await prepare(each);
}

function describe(item, found) {
  const now = found?.now ?? null;
  const where = [item.image, item.part && `part ${item.part}`, item.station, clock(item.inspected_at)].filter(Boolean).join(" · ");
  find("answer").replaceChildren(
    ...headline({ ...item, probable_defect: now?.probable_defect, remarks: now?.remarks }),
    element("p", { class: "small" }, where),
    facts([...figures(item), ["By the present bank", now && now.verdict !== item.verdict ? `${now.verdict}, score ${now.score.toPrecision(4)}` : null]]),
  );
  references(find("similar"), item);
  if (now) defects(find("defects"), { ...now, verdict: item.verdict });
  else find("defects").replaceChildren(element("p", { class: "faint" }, found ? "The image was not kept, so it cannot be compared." : "Comparing…"));
}

/** What "good" would change: asked for while the part is looked at, and no longer once it is answered. */
class Foreseen {
  #leaving = new AbortController();
  #asked = null;
  #timer = setTimeout(() => this.found(), SETTLED);

  constructor(item) {
    this.item = item;
  }

  found() {
    clearTimeout(this.#timer);
    const address = `${of(category, "inspections", this.item.inspection_id, "review", "effect")}?effect=${JUDGED_AGAIN}`;
    this.#asked ??= ask(address, { signal: this.#leaving.signal });
    this.#asked.catch(() => { this.#asked = null; });
    return this.#asked;
  }

  leave() {
    clearTimeout(this.#timer);
    this.#leaving.abort();
  }
}

function wait(milliseconds) {
  answersFrom = Math.max(answersFrom, performance.now() + milliseconds);
}

/** Whether an answer counts now; if not, that is said. */
function counts() {
  const isEarly = busy || (queue.length > 0 && performance.now() < answersFrom);
  if (isEarly) wait(PAUSE);
  find("early").hidden = !isEarly;
  return !isEarly;
}

function reset() {
  // Where the picture was before the effect came into sight.
  if (question) scrollTo(0, question.scrolled);
  question = null;
  find("doubt").hidden = true;
  find("effect").hidden = true;
  find("good").firstChild.textContent = "Good ";
}

async function answer(given) {
  const [item] = queue;
  if (busy || item === undefined) return;
  busy = true;
  const done = await attempt(() => send(of(category, "inspections", item.inspection_id, "review"), given));
  if (done === null) {
    busy = false;
    // What is said of the part may have changed.
    looks.delete(item.inspection_id);
    reset();
    await leaveAnswered(item);
    return;
  }
  for (const remark of done.remarks) toast(sentence(remark));
  const label = given.label;
  if (label && !labels.includes(label)) { labels.push(label); drawLabels(); }
  queue.shift();
  looks.delete(item.inspection_id);
  waiting = done.waiting;
  if (queue.length < 10 && waiting > queue.length) await attempt(refill);
  // Until the next part is there, nothing is taken for an answer to it.
  busy = false;
  show();
  drawGiven();
}

// Another person may have answered meanwhile: what is answered waits no more.
async function leaveAnswered(item) {
  const found = await ask(of(category, "inspections", item.inspection_id)).catch(() => null);
  if (!found?.review) return;
  find("refused").hidden = true;
  const { answer: given, label, actor } = found.review;
  toast(`${item.image}: ${actor} answered ${label ?? given} meanwhile. Your answer was not recorded.`);
  queue = queue.filter((each) => each.inspection_id !== item.inspection_id);
  looks.delete(item.inspection_id);
  await attempt(refill);
  show();
  drawGiven();
}

async function good() {
  const [item] = queue;
  if (busy || item === undefined) return;
  if (question !== null) {
    if (question.isShown) await answer({ answer: "good", confirmed: question.isDoubted });
    return;
  }
  const asked = { isShown: false, isDoubted: false, scrolled: scrollY };
  question = asked;
  const box = find("effect");
  box.hidden = false;
  box.replaceChildren(element("p", {}, "Judging recent parts again, as if this one were good…"));
  // The words: with the pictures below them, a phone would show no button to press.
  const showWords = () => box.querySelector("p:last-of-type").scrollIntoView({ block: "nearest" });
  showWords();
  const [found, effect] = await attempt(() => Promise.all([look(item), foreseen.found()])
    // Whoever left the part is not told that nothing came of it.
    .catch((problem) => { if (question === asked) throw problem; return []; })) ?? [];
  if (question !== asked) return;
  if (found === undefined) { reset(); return; }
  if (found.doubt) {
    asked.isDoubted = true;
    find("doubt").textContent = sentence(found.doubt);
    find("doubt").hidden = false;
  }
  find("good").firstChild.textContent = "Good, add it to the bank ";
  drawEffect(effect, found.doubt);
  showWords();
  asked.isShown = true;
  wait(READ);
}

function drawEffect(effect, isDoubted) {
  const box = find("effect");
  const changes = effect.addition?.effect?.changes ?? [];
  box.replaceChildren(
    element("p", {}, element("strong", {}, "What “good” would change")),
    ...effectInWords(effect).map((line) => element("p", {}, line)),
    element("p", {}, `If it is good${isDoubted ? " all the same" : ""}, press “Good” once more.`),
    ...(changes.length ? [element("div", { class: "gallery" }, ...changes.slice(0, 12).map((change) => element("figure", {},
      element("img", smallPicture(category, change.inspection_id, 256, change.image)),
      element("figcaption", {}, verdictMark(change.before), " becomes ", verdictMark(change.after)))))] : []),
  );
}

function effectInWords({ addition, in_words: words }) {
  if (addition === null) return ["Nothing: the image was not kept, or is a reference already."];
  const [before, after] = [addition.thresholds_before.fail_above, addition.thresholds.fail_above];
  const [now, then] = [before, after].map((limit) => limit.toPrecision(4));
  const rise = Math.round(100 * (after / before - 1));
  return [
    now === then ? `Parts fail above ${now}, as before.` : `Parts then fail above ${then}; now they fail above ${now}.`,
    ...(rise >= 5 ? [`The limit rises by ${number(rise)} %: a defect that scores below it passes.`] : []),
    // The first two lines are the image and the limits.
    ...words.slice(2).map(sentence),
  ];
}

async function undo() {
  if (busy) return;
  busy = true;
  const done = await attempt(() => send(of(category, "review", "undo"), {}));
  if (done === null) { busy = false; return; }
  toast(`Undone: ${done.image} waits for an answer again.`);
  looks.clear();
  waiting = done.waiting;
  const found = await attempt(() => ask(of(category, "inspections", done.inspection_id)));
  if (found !== null) {
    queue = [found, ...queue.filter((item) => item.inspection_id !== done.inspection_id)];
  }
  busy = false;
  show();
  drawGiven();
}

function drawLabels() {
  find("labels").replaceChildren(...labels.map((label) => element("option", { value: label })));
  find("known").replaceChildren(...labels.slice(0, 9).map((label, index) => {
    const button = element("button", { type: "button" }, `${label} `, element("kbd", {}, String(index + 1)));
    whenCounted(button, () => answer({ answer: "defect", label }));
    return button;
  }));
}

// What followed from an answer, as it is now.
function followed(item) {
  if (item.pending) return "; being added to the bank";
  if (item.added !== null && !item.in_use) return item.answer === "good" ? "; no longer in the bank" : "; no longer in the defect book";
  return item.bank_version ? `; in version ${item.bank_version} of the bank` : "";
}

let polling = null;
async function drawGiven() {
  clearTimeout(polling);
  const found = await attempt(() => ask(`${of(category, "answers")}?limit=8`));
  if (found === null) return;
  find("last").hidden = found.items.length === 0;
  for (const button of document.querySelectorAll(".undo")) button.disabled = found.items.length === 0;
  find("given").replaceChildren(...found.items.map((item) => {
    const answers = { good: "good", defect: "defect", skip: "skipped" };
    return element("li", {}, element("a", { href: pageOf(category, "records", item.inspection_id) }, `Inspection ${item.inspection_id}`),
      `: ${answers[item.answer] ?? item.answer}${item.label ? ` ${item.label}` : ""}, ${item.actor}, ${clock(item.reviewed_at)}${followed(item)}`);
  }));
  // The bank is changed in the background.
  if (found.items.some((item) => item.pending)) polling = setTimeout(drawGiven, 1000);
}

function whenCounted(button, work) {
  button.addEventListener("click", () => { if (counts()) work(); });
}

const KEYS = {
  g: good,
  s: () => answer({ answer: "skip" }),
  u: undo,
  d: () => find("label").focus(),
  m: () => {
    const slider = find("opacity");
    slider.value = Number(slider.value) ? 0 : 60;
    slider.dispatchEvent(new Event("input"));
  },
  escape: () => { find("label").value = ""; reset(); },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const work = KEYS[event.key.toLowerCase()];
  const label = labels[Number(event.key) - 1];
  // A key that is held down says something once. The keyboard presses a button that has the focus.
  if (event.repeat && (event.target.matches("button") || ((work || label) && !event.target.matches("input, select, textarea")))) {
    event.preventDefault();
    return;
  }
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    if (!event.target.matches("[type=range]")) return;
  }
  // Another letter may belong to a word that was typed too early.
  if (!work && !label) {
    if (event.key.length === 1 && performance.now() < answersFrom) wait(PAUSE);
    return;
  }
  if (page.hidden && work !== undo) return;
  if (!mayAnswer && work !== KEYS.m) return;
  event.preventDefault();
  if (work === KEYS.m || work === KEYS.escape) work();
  else if (!counts()) return;
  else if (work) work();
  else answer({ answer: "defect", label });
});
whenCounted(find("good"), good);
whenCounted(find("skip"), KEYS.s);
for (const button of document.querySelectorAll(".undo")) whenCounted(button, undo);
find("defect").addEventListener("submit", (event) => {
  event.preventDefault();
  const label = find("label").value.trim();
  // What does not count stays, for the part that comes.
  if (!label || !counts()) return;
  find("label").blur();
  find("label").value = "";
  answer({ answer: "defect", label });
});
await attempt(async () => {
  const [found] = await Promise.all([ask(of(category, "labels")), refill()]);
  labels = found.items;
  // A page that leads here names the one to begin with.
  const wanted = new URLSearchParams(location.search).get("inspection");
  if (wanted !== null) {
    const item = queue.find((each) => String(each.inspection_id) === wanted) ?? await ask(of(category, "inspections", wanted));
    if (!item.review) queue = [item, ...queue.filter((each) => each.inspection_id !== item.inspection_id)];
  }
  drawLabels();
  drawGiven();
  await show();
});
