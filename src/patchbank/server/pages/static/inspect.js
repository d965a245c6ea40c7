// The Inspect page: an image in, a verdict with its evidence out.

import { Problem, againstLimit, ask, element, of, toast, verdictMark } from "./api.js";
import { Layers } from "./layers.js";

const page = document.querySelector(".inspect");
const { category } = page.dataset;
const drop = page.querySelector(".drop");
const choose = page.querySelector("#file");
const result = page.querySelector("#result");
const busy = page.querySelector("#busy");
const layers = new Layers(page.querySelector(".layers"), page.querySelector("#opacity"));

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
  try {
    show(await ask(`${of(category, "inspect")}?${query}`, { method: "POST", body: form }));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    page.querySelector("#refused").textContent = error.message;
    page.querySelector("#refused").hidden = false;
  } finally {
    busy.hidden = true;
    result.removeAttribute("aria-busy");
  }
}

function show(item) {
  page.querySelector("#refused").hidden = true;
  result.hidden = false;
  page.querySelector("#pictures").hidden = false;
  const facts = [
    ["Score", `${item.score.toPrecision(4)}: ${againstLimit(item)}`],
    ["Passes up to", item.pass_below.toPrecision(4)],
    ["Fails above", item.fail_above.toPrecision(4)],
    ["p-value", item.p_value.toPrecision(3)],
    ["Judged by", `version ${item.bank_version} of the bank, ${item.calibration_images.toLocaleString()} good parts`],
    ["Took", `${Math.round(item.timings_ms.total)} ms`],
  ];
  page.querySelector("#answer").replaceChildren(
    element("p", {}, verdictMark(item.verdict)),
    element("p", {}, `${item.in_words.rarity[0].toUpperCase()}${item.in_words.rarity.slice(1)}.`),
    ...(item.probable_defect
      ? [element("p", {}, `Probably ${item.probable_defect.label} (${item.probable_defect.agreeing} of ${item.probable_defect.nearest} most similar defects).`)]
      : []),
    ...item.remarks.map((text) => element("p", { class: "notice careful" }, text)),
    element("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
  );
  const regions = item.regions.map((region, index) => {
    const [x0, y0, x1, y1] = region.box_xyxy;
    return element("li", {}, `Region ${index + 1}: x ${x0} to ${x1}, y ${y0} to ${y1}, ${region.area_pixels.toLocaleString()} pixels (${region.area_percent.toFixed(2)} % of the image)`);
  });
  page.querySelector("#regions").replaceChildren(...(regions.length ? regions : [element("li", { class: "faint" }, "No region stands out.")]));
  gallery(page.querySelector("#similar"), item.similar.map((match) => ({
    source: `${of(category, "references", "thumbnail")}?${new URLSearchParams({ name: match.image })}`,
    name: match.image,
    text: `${match.similarity.toFixed(4)}${match.itself ? ", the same image" : ""}`,
  })), "This bank has no similar references.");
  gallery(page.querySelector("#defects"), item.similar_defects.map((match) => ({
    source: `${of(category, "defects", "thumbnail")}?${new URLSearchParams({ name: match.name })}`,
    name: match.name,
    text: `${match.similarity.toFixed(4)}, ${match.label ?? "no label"}${match.synthetic ? ", synthetic" : ""}`,
  })), item.verdict === "pass" ? "A part that passes is not compared with defects." : "No defects are recorded yet: answer “defect” on the Review page to record some.");
  layers.show(item);
}

function gallery(root, pictures, none) {
  root.replaceChildren(...(pictures.length
    ? pictures.map(({ source, name, text }) => element("figure", {},
      element("img", { src: source, alt: name, loading: "lazy" }),
      element("figcaption", {}, text, element("br"), element("span", { class: "faint", title: name }, name.split("/").pop()))))
    : [element("p", { class: "faint" }, none)]));
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
