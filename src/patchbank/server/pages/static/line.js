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
const NEXT = {
  pass: "Nothing to do.",
  review: "Put the part aside: a person decides on the Review page.",
  fail: "Take the part out. If it is good after all, say so on the Review page.",
};

const big = page.querySelector(".big");
const strip = page.querySelector(".strip ol");
const cut = document.querySelector("#cut");
const sound = document.querySelector("#sound");
const layers = new Layers(page.querySelector(".layers"), document.querySelector("#opacity"));
const items = new Map();
let chosen = null; // the number of the one that a person picked; null follows the newest
let heard = Date.now();
let broken = null; // since when the stream is broken off
let begun = false;
let audio = null;

// Many may come at once: only the last of them is shown.
let waiting = null;
function show(item) {
  if (waiting === null) setTimeout(() => { const next = waiting; waiting = null; showNow(next); }, 0);
  waiting = item;
}

const none = [...big.childNodes];
let current = null;
function showNow(item) {
  current = item;
  if (!cut.hidden) return;
  big.className = `big ${item.verdict}`;
  const where = [item.part && `part ${item.part}`, item.station, clock(item.inspected_at)].filter(Boolean).join(" · ");
  big.replaceChildren(
    verdictMark(item.verdict),
    element("p", {}, againstLimit(item)),
    element("p", {}, rarity(item.p_value)),
    element("p", { class: "next" }, NEXT[item.verdict]),
    element("p", {}, where),
  );
  document.title = `${item.verdict.toUpperCase()} · ${category} · patchbank`;
  page.querySelector("#name").textContent = item.image;
  layers.show(item);
  for (const button of strip.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.number) === item.inspection_id));
  }
  page.querySelector("#follow").hidden = chosen === null;
}

function add(item) {
  if (items.has(item.inspection_id)) return;
  items.set(item.inspection_id, item);
  const button = stripButton(item, `${clock(item.inspected_at)}, ${item.part ?? item.image}`);
  button.dataset.number = item.inspection_id;
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => { chosen = item.inspection_id; show(item); });
  strip.prepend(element("li", {}, button));
  while (strip.children.length > SHOWN) {
    items.delete(Number(strip.lastElementChild.firstElementChild.dataset.number));
    strip.lastElementChild.remove();
  }
  if (chosen === null || !items.has(chosen)) {
    chosen = null;
    show(item);
  }
  if (begun && item.verdict === "fail" && sound.getAttribute("aria-pressed") === "true") alarm();
  if (begun) count();
}

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
  const alive = () => {
    heard = Date.now();
    broken = null;
    if (cut.hidden) return;
    cut.hidden = true;
    if (current) showNow(current);
    else { big.className = "big"; big.replaceChildren(...none); }
  };
  stream.addEventListener("open", alive);
  stream.addEventListener("beat", () => { alive(); begun = true; });
  stream.addEventListener("inspection", (event) => { alive(); add(JSON.parse(event.data)); });
  stream.addEventListener("error", () => {
    broken ??= Date.now();
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  });
}

// The service may answer, but no longer for this category.
async function explainCut() {
  try {
    await ask(of(category, "counts"));
  } catch (error) {
    if (error.document?.status !== 404) return;
    const words = `${category} was removed. The service judges no more parts of it.`;
    big.replaceChildren(element("span", { class: "verdict cut" }, "Removed"), element("p", { class: "next" }, words),
      element("p", {}, element("a", { class: "button", href: "/" }, "To the first page")));
    cut.replaceChildren(words);
  }
}

setInterval(() => {
  const isCut = Date.now() - heard >= SILENT_MS || (broken !== null && Date.now() - broken >= BROKEN_MS);
  if (!isCut || !cut.hidden) return;
  cut.querySelector("span").textContent = clock(heard);
  cut.hidden = false;
  explainCut();
  // From afar, an old verdict would look like one of now.
  big.className = "big cut";
  document.title = `Cut off · ${category} · patchbank`;
  big.replaceChildren(
    element("span", { class: "verdict cut" }, "Cut off"),
    element("p", { class: "next" }, "Parts may be judged that you do not see here. Check that the service runs and that this device is connected."),
    ...(current ? [element("p", {}, `The last verdict seen: ${current.verdict}, ${clock(current.inspected_at)}.`)] : []),
  );
}, 500);
setTimeout(() => { begun = true; }, 2000);
sound.setAttribute("aria-pressed", localStorage.getItem("patchbank.sound") ?? "false");
sound.addEventListener("click", () => {
  const on = sound.getAttribute("aria-pressed") !== "true";
  sound.setAttribute("aria-pressed", String(on));
  localStorage.setItem("patchbank.sound", String(on));
  if (on) alarm();
});
page.querySelector("#follow").addEventListener("click", () => {
  chosen = null;
  const newest = strip.querySelector("button");
  if (newest) show(items.get(Number(newest.dataset.number)));
});
count();
setInterval(count, 30000);
listen();
