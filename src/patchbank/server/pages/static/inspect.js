// The Inspect page: an image in, a verdict with its evidence out.

import { ask, attempt, of, toast } from "./api.js";
import { defects, facts, figures, headline, references, regions } from "./evidence.js";
import { Layers } from "./layers.js";
import { Spots } from "./spot.js";

const page = document.querySelector(".inspect");
const { category } = page.dataset;
const drop = page.querySelector(".drop");
const choose = page.querySelector("#file");
const result = page.querySelector("#result");
const busy = page.querySelector("#busy");
const layers = new Layers(page.querySelector(".layers"), page.querySelector("#opacity"));

const spots = new Spots(layers, page.querySelector("#spot"));

async function inspect(file) {
  busy.hidden = false;
  result.setAttribute("aria-busy", "true");
  const form = new FormData();
  form.append("image", file, file.name);
  const query = new URLSearchParams();
  for (const name of ["part", "station"]) {
    const { value } = page.querySelector(`#${name}`);
    if (value.trim()) query.set(name, value.trim());
  }
  const found = await attempt(() => ask(`${of(category, "inspect")}?${query}`, { method: "POST", body: form }));
  busy.hidden = true;
  result.removeAttribute("aria-busy");
  if (found !== null) show(found);
}

function show(item) {
  result.hidden = false;
  page.querySelector("#pictures").hidden = false;
  page.querySelector("#answer").replaceChildren(...headline(item), facts([
    ...figures(item),
    ["Judged by", `version ${item.bank_version} of the bank, ${item.calibration_images.toLocaleString()} good parts`],
    ["Took", `${Math.round(item.timings_ms.total)} ms`],
  ]));
  regions(page.querySelector("#regions"), item);
  references(page.querySelector("#similar"), item);
  defects(page.querySelector("#defects"), item);
  layers.show(item);
  spots.show(item);
}

choose.addEventListener("change", () => {
  if (choose.files.length) inspect(choose.files[0]);
  choose.value = "";
});
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (file) inspect(file);
  else toast("Drop an image file here.");
});
document.addEventListener("paste", (event) => {
  const file = event.clipboardData.files[0];
  if (file) inspect(file);
});
