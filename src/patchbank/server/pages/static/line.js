// The Line page: the last verdict, large; the last twenty; the shift's counts. Updates by itself.

import { ask, of } from "./api.js";
import { element, stripButton, verdictMark } from "./elements.js";
import { Layers } from "./layers.js";
import { againstLimit, clock, number, rarity } from "./words.js";

const page = document.querySelector(".line");
const { category } = page.dataset;
const station = page.dataset.station || null;
const SHOWN = 20;
const SILENT_MS = 5000;
// A stream that the service ended on purpose is back within a second.
const BROKEN_MS = 2000;
const REMOVED_MS = 10000;
// A person who looks at an older one touches something now and then.
const TOUCHED_MS = 10000;
const NEXT = {
  pass: "Nothing to do.",
  review: "Put the part aside: a person decides on the Review page.",
  fail: "Take the part out. If it is good after all, say so on the Review page.",
};

const big = page.querySelector(".big");
const picture = page.querySelector(".layers");
const strip = page.querySelector(".strip ol");
const follow = page.querySelector("#follow");
const cut = document.querySelector("#cut");
const sound = document.querySelector("#sound");
const layers = new Layers(picture, document.querySelector("#opacity"));
const title = document.title;
const items = new Map(); // by number, oldest first
let newest = null;
let shown; // undefined until it is known whether there is one
let chosen = null; // an older one that a person picked; null follows the newest
let besides = null; // the newest when it was picked
let touched = Date.now();
let heard = Date.now();
let broken = null; // since when the stream is broken off
let removed = false;
let begun = false;
let audio = null;

// Many may come at once: only the last of them is shown.
let waiting = null;
function show() {
  waiting ??= setTimeout(() => { waiting = null; showNow(); });
}

function showNow() {
  if (!cut.hidden) return;
  const item = chosen ?? newest;
  document.title = newest ? `${newest.verdict.toUpperCase()} · ${category} · patchbank` : title;
  big.className = item ? `big ${item.verdict}` : "big";
  big.classList.toggle("older", chosen !== null);
  big.replaceChildren(...(item ? words(item) : [document.querySelector("#none").content.cloneNode(true)]));
  page.querySelector("#name").textContent = item?.image ?? "";
  picture.style.visibility = item ? "visible" : "hidden";
  if (item && item !== shown) layers.show(item);
  shown = item;
  for (const button of strip.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.number) === item?.inspection_id));
  }
  follow.hidden = chosen === null;
}

function words(item) {
  const where = [item.part && `part ${item.part}`, item.station, clock(item.inspected_at)].filter(Boolean).join(" · ");
  const isOlder = item === chosen;
  return [
    ...(isOlder ? [element("p", { class: "age" }, "An older one")] : []),
    verdictMark(item.verdict),
    element("p", {}, againstLimit(item)),
    element("p", {}, rarity(item.p_value)),
    element("p", { class: "next" }, isOlder ? `Newest: ${newest.verdict}, ${clock(newest.inspected_at)}.` : NEXT[item.verdict]),
    element("p", {}, where),
  ];
}

function pick(item) {
  chosen = item === newest ? null : item;
  besides = newest;
  touched = Date.now();
  show();
}

function add(item) {
  if (items.has(item.inspection_id)) return;
  items.set(item.inspection_id, item);
  const button = stripButton(item, `${clock(item.inspected_at)}, ${item.part ?? item.image}`);
  button.dataset.number = item.inspection_id;
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => pick(item));
  strip.prepend(element("li", {}, button));
  newest = item;
  if (item.verdict !== "pass") chosen = null;
  keepOnly([...items.keys()].slice(-SHOWN));
  show();
  if (begun && item.verdict === "fail" && sound.getAttribute("aria-pressed") === "true") alarm();
  if (begun) count();
}

function keepOnly(numbers) {
  const gone = [...items.keys()].filter((number) => !numbers.includes(number));
  if (!gone.length) return;
  for (const number of gone) {
    items.delete(number);
    strip.querySelector(`[data-number="${number}"]`).parentElement.remove();
  }
  newest = [...items.values()].at(-1) ?? null;
  if (!items.has(chosen?.inspection_id)) chosen = null;
  show();
}

for (const kind of ["pointerdown", "keydown", "input"]) document.addEventListener(kind, () => { touched = Date.now(); });
setInterval(() => {
  if (chosen !== null && newest !== besides && Date.now() - touched >= TOUCHED_MS) pick(newest);
}, 500);

function alarm() {
  audio ??= new AudioContext();
  [0, 0.25].forEach((delay) => {
    const tone = audio.createOscillator();
    const level = audio.createGain();
    tone.frequency.value = 880;
    level.gain.setValueAtTime(0.25, audio.currentTime + delay);
    level.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + delay + 0.2);
    tone.connect(level).connect(audio.destination);
    tone.start(audio.currentTime + delay);
    tone.stop(audio.currentTime + delay + 0.2);
  });
}

// The shift, since a time of this day that the person chose.
const since = document.querySelector("#since");
since.value = localStorage.getItem("patchbank.shift") ?? "06:00";
since.addEventListener("change", () => { localStorage.setItem("patchbank.shift", since.value); count(); });

function shiftBegin() {
  const [hours, minutes] = (since.value || "00:00").split(":").map(Number);
  const begin = new Date();
  begin.setHours(hours, minutes, 0, 0);
  if (begin > new Date()) begin.setDate(begin.getDate() - 1);
  return begin;
}

let counting = null;
let again = false;
async function count() {
  if (removed) return;
  if (counting) { again = true; return; }
  const begin = shiftBegin();
  const query = new URLSearchParams({ since: begin.toISOString() });
  if (station) query.set("station", station);
  try {
    counting = ask(`${of(category, "counts")}?${query}`);
    const found = await counting;
    const total = found.pass + found.review + found.fail;
    const hours = Math.max((Date.now() - begin) / 3600e3, 1 / 60);
    for (const verdict of ["pass", "review", "fail"]) {
      document.querySelector(`#count-${verdict}`).textContent = number(found[verdict]);
    }
    document.querySelector("#count-all").textContent = number(total);
    document.querySelector("#share").textContent = total ? `${(100 * (found.fail + found.review) / total).toFixed(1)} %` : "–";
    const rate = total / hours;
    // Few are not none.
    document.querySelector("#rate").textContent = `${number(rate < 10 ? Number(rate.toPrecision(2)) : Math.round(rate))} an hour`;
  } catch {
    // The bar at the top says that the service is away.
  } finally {
    counting = null;
  }
  if (again) { again = false; setTimeout(count, 500); }
}

function listen() {
  const query = station ? `?${new URLSearchParams({ station })}` : "";
  const stream = new EventSource(`${of(category, "events")}${query}`);
  const told = new Set();
  const alive = () => {
    heard = Date.now();
    broken = null;
    if (cut.hidden) return;
    cut.hidden = true;
    show();
  };
  // First come the last twenty. What is not among them is of a category that was removed meanwhile.
  stream.addEventListener("open", () => told.clear());
  stream.addEventListener("beat", () => {
    keepOnly([...told]);
    alive();
    begun = true;
    if (shown === undefined) show();
  });
  stream.addEventListener("inspection", (event) => {
    const item = JSON.parse(event.data);
    told.add(item.inspection_id);
    alive();
    add(item);
  });
  stream.addEventListener("error", () => {
    broken ??= Date.now();
    if (stream.readyState === EventSource.CLOSED) listenAgain();
  });
}

// The service may answer, but no longer for this category. Its list is no error, unlike the stream of none.
async function listenAgain() {
  const list = await ask("/v1/categories").catch(() => null);
  const wasRemoved = removed;
  if (list) removed = !list.items.some((item) => item.category === category.normalize("NFC"));
  if (!removed) {
    if (wasRemoved) count();
    setTimeout(listen, 1000);
    return;
  }
  if (!wasRemoved) showRemoved();
  setTimeout(listenAgain, REMOVED_MS);
}

// In place of the last verdict: from afar, an old one would look like one of now.
function showInstead(word, ...children) {
  big.className = "big cut";
  document.title = `${word} · ${category} · patchbank`;
  big.replaceChildren(element("span", { class: "verdict cut" }, word), ...children);
}

function showRemoved() {
  const text = `${category} was removed. The service judges no more parts of it.`;
  cut.hidden = false;
  cut.replaceChildren(text);
  showInstead("Removed", element("p", { class: "next" }, text),
    element("p", {}, element("a", { class: "button", href: "/" }, "To the first page")));
  picture.style.visibility = "hidden";
  page.querySelector("#name").textContent = "";
  for (const figure of page.querySelectorAll(".tallies dd")) figure.textContent = "–";
  keepOnly([]);
}

setInterval(() => {
  const isCut = Date.now() - heard >= SILENT_MS || (broken !== null && Date.now() - broken >= BROKEN_MS);
  if (!isCut || !cut.hidden) return;
  cut.hidden = false;
  cut.replaceChildren(element("strong", {}, "Cut off from the service."),
    ` What you see is from ${clock(heard)}; this page goes on by itself when the service answers.`);
  showInstead("Cut off",
    element("p", { class: "next" }, "Parts may be judged that you do not see here. Check that the service runs and that this device is connected."),
    ...(newest ? [element("p", {}, `The last verdict seen: ${newest.verdict}, ${clock(newest.inspected_at)}.`)] : []));
}, 500);
setTimeout(() => { begun = true; }, 2000);
sound.setAttribute("aria-pressed", localStorage.getItem("patchbank.sound") ?? "false");
sound.addEventListener("click", () => {
  const on = sound.getAttribute("aria-pressed") !== "true";
  sound.setAttribute("aria-pressed", String(on));
  localStorage.setItem("patchbank.sound", String(on));
  if (on) alarm();
});
follow.addEventListener("click", () => pick(newest));
count();
setInterval(count, 30000);
listen();
