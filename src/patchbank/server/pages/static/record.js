// One recorded inspection: everything that was known when it was judged.

import { ask, of } from "./api.js";
import { attempt, element, find } from "./elements.js";
import { defects, facts, figures, headline, judgedBy, likeness, references, regions, toReview } from "./evidence.js";
import { Layers } from "./layers.js";
import { Spots } from "./spot.js";

const page = document.querySelector("#record");
const { category, number } = page.dataset;

function time(text) {
  return new Date(text).toLocaleString([], { dateStyle: "full", timeStyle: "long" });
}

// In the order of the work.
const STAGES = {
  decode: "reading the file", preprocess: "scaling", network: "network", neighbours: "nearest patches", map: "anomaly map",
  similar: "similar references", bank: "waiting for the bank",
};

function took(timings) {
  const stages = [...new Set([...Object.keys(STAGES), ...Object.keys(timings)])].filter((stage) => stage !== "total" && timings[stage] >= 0.05);
  const total = stages.reduce((sum, stage) => sum + timings[stage], 0);
  return total ? `${Math.round(total)} ms: ${stages.map((stage) => `${STAGES[stage] ?? stage.replaceAll("_", " ")} ${timings[stage].toFixed(1)}`).join(", ")}` : null;
}

function unanswered(item) {
  return [element("p", { class: "faint" }, item.verdict === "pass" ? "None: the part passed." : "None yet."), element("p", { class: "screen-only" }, toReview(item))];
}

function show(item) {
  find("answer").replaceChildren(...headline(item), facts([...figures(item), ["Likeness to defects", likeness(item)]]));
  // What is short stands beside one another.
  find("known").replaceChildren(
    facts([
      ["Judged", time(item.inspected_at)],
      ["Sent by", item.actor],
      ["Part", item.part],
      ["Station", item.station],
      ["Image", item.image],
      ["Image size", item.width === null ? null : `${item.width} × ${item.height} pixels`],
    ]),
    facts([
      ["SHA-256 of the file", item.sha256],
      ["Brightness", item.brightness === null ? null : `${Math.round(item.brightness)}, of 0 to 255`],
      ["Sharpness", item.sharpness === null ? null : `${item.sharpness.toPrecision(2)}: how much pixels differ from their neighbours, relative to the brightness`],
      ["Judged by", judgedBy(item)],
      ["Outside the bank", item.share_outside === null ? null : `${(100 * item.share_outside).toFixed(1)} % of the patches are farther from the bank than any that it was learned from`],
      ["Extractor", item.extractor.in_words],
      ["Fingerprint", item.extractor_fingerprint],
      ["Took", took(item.timings_ms)],
    ]),
  );
  find("review").replaceChildren(...(item.review
    ? [facts([["Answer", item.review.answer], ["Label", item.review.label], ["By", item.review.actor], ["On", time(item.review.reviewed_at)]])]
    : unanswered(item)));
  regions(find("regions"), item);
  references(find("similar"), item);
  find("defects").parentElement.hidden = item.similar_defects.length === 0;
  defects(find("defects"), item);
  const files = [["image", "The image as it was sent"], ["heatmap", "The picture beside its anomaly map"]]
    .filter(([name]) => item.urls[name]).map(([name, text]) => element("a", { class: "button", href: item.urls[name] }, text));
  find("files").replaceChildren(...files);
  const layers = new Layers(page.querySelector(".layers"), find("opacity"));
  layers.show(item);
  new Spots(layers, find("spot")).show(item);
}

find("print").addEventListener("click", () => window.print());
const found = await attempt(() => ask(of(category, "inspections", number)));
page.hidden = found === null;
if (found !== null) show(found);
