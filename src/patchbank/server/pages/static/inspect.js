// The Inspect page: images in, verdicts with their evidence out.

import { ask, of, pageOf, Problem } from "./api.js";
import { onChosen, onDrop } from "./drop.js";
import { element, stripButton, toast } from "./elements.js";
import { defects, facts, figures, headline, judgedBy, likeness, references, regions, toReview } from "./evidence.js";
import { Layers } from "./layers.js";
import { Spots } from "./spot.js";
import { sentence } from "./words.js";

const page = document.querySelector(".inspect");
const { category } = page.dataset;
const result = page.querySelector("#result");
const busy = page.querySelector("#busy");
const refused = page.querySelector("#refused");
const strip = page.querySelector("#judged");
const layers = new Layers(page.querySelector(".layers"), page.querySelector("#opacity"));

const spots = new Spots(layers, page.querySelector("#spot"));

// Several may be given at once: they are judged one after another, and each can be looked at again.
let waiting = [];
let refusals = [];
let working = false;
async function inspect(files) {
  waiting.push(...files);
  if (working) return;
  working = true;
  refusals = [];
  refused.hidden = true;
  for (let done = 1; waiting.length; done += 1) {
    const file = waiting.shift();
    busy.textContent = waiting.length || done > 1 ? `Judging ${file.name} (${done} of ${done + waiting.length})…` : `Judging ${file.name}…`;
    busy.hidden = false;
    result.setAttribute("aria-busy", "true");
    try {
      add(await judge(file));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      // No verdict of another image stays beside the refusal.
      show(null);
      refusals.push(error.message.includes(file.name) ? sentence(error.message) : `${file.name}: ${error.message}`);
    }
  }
  working = false;
  busy.hidden = true;
  result.removeAttribute("aria-busy");
  refused.replaceChildren(...refusals.map((text) => element("span", { class: "each" }, text)));
  refused.hidden = refusals.length === 0;
}

function judge(file) {
  const form = new FormData();
  form.append("image", file, file.name);
  const query = new URLSearchParams();
  for (const name of ["part", "station"]) {
    const { value } = page.querySelector(`#${name}`);
    if (value.trim()) query.set(name, value.trim());
  }
  return ask(`${of(category, "inspect")}?${query}`, { method: "POST", body: form });
}

function add(item) {
  const button = stripButton(item, item.image);
  button.dataset.number = item.inspection_id;
  button.addEventListener("click", () => show(item));
  strip.querySelector("ol").prepend(element("li", {}, button));
  strip.hidden = strip.querySelectorAll("li").length < 2;
  show(item);
}

function show(item) {
  result.hidden = item === null;
  page.querySelector("#pictures").hidden = item === null;
  for (const button of strip.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.number) === item?.inspection_id));
  }
  if (item === null) return;
  page.classList.add("judged");
  page.querySelector("#answer").replaceChildren(...headline(item), facts([
    ["Image", item.image],
    ...figures(item),
    ["Likeness to defects", likeness(item)],
    ["Judged by", judgedBy(item)],
    ["Took", `${Math.round(item.timings_ms.total)} ms`],
  ]), element("p", { class: "row next" },
    toReview(item),
    element("a", { class: "button", href: pageOf(category, "records", item.inspection_id) }, "Open its record")));
  regions(page.querySelector("#regions"), item);
  references(page.querySelector("#similar"), item);
  defects(page.querySelector("#defects"), item);
  layers.show(item);
  spots.show(item);
}

onChosen(page.querySelector("#file"), inspect);
onDrop(({ files }) => {
  if (files.length) inspect(files);
  else toast("Drop an image file here.");
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) inspect(event.clipboardData.files);
});
