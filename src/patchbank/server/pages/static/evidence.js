// What is known of an inspection: facts, regions, similar pictures. The same on every page.

import { of, pageOf } from "./api.js";
import { element, figure, verdictMark } from "./elements.js";
import { againstLimit, count, number, rarity } from "./words.js";

/** A list of facts; those without a value are left out. */
export function facts(pairs) {
  return element("dl", { class: "facts" }, ...pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

/** The figures of a verdict. */
export function figures(item) {
  return [
    ["Score", `${item.score.toPrecision(4)}: ${againstLimit(item)}`],
    ["Passes up to", item.pass_below.toPrecision(4)],
    ["Fails above", item.fail_above.toPrecision(4)],
    ["p-value", item.p_value === null || item.p_value === undefined ? null : `${item.p_value.toPrecision(3)}: the share of good parts that score at least as high`],
  ];
}

/** By which bank, and by how many good parts. */
export function judgedBy(item) {
  const independent = item.independent_references < item.calibration_images ? `, about ${number(item.independent_references)} of them independent` : "";
  const parts = item.calibration_images === null ? "" : `, ${count(item.calibration_images, "good part")}${independent}`;
  return `version ${item.bank_version} of the bank${parts}`;
}

/** What likeness to recorded defects did to the score. */
export function likeness(item) {
  if (!item.likeness?.added) return null;
  const { added, label, score_without } = item.likeness;
  const effect = added > 0 ? `adds ${added.toPrecision(2)} to the score, most like ${label ?? "defects without a label"}` : `takes ${(-added).toPrecision(2)} off the score`;
  return `${effect}; without it ${score_without.toPrecision(4)}`;
}

/** The verdict and how rare it is, as paragraphs. */
export function headline(item) {
  const rare = rarity(item.p_value);
  return [
    element("p", {}, verdictMark(item.verdict)),
    ...(rare ? [element("p", {}, rare)] : []),
    ...(item.probable_defect
      ? [element("p", {}, `Probably ${item.probable_defect.label} (${item.probable_defect.agreeing} of ${item.probable_defect.nearest} most similar defects).`)]
      : []),
    ...(item.remarks ?? []).map((text) => element("p", { class: "notice careful" }, text)),
  ];
}

/** The way to a person's answer: also of what passed, as a defect may be missed. */
export function toReview(item) {
  const address = `${pageOf(item.category, "review")}?inspection=${item.inspection_id}`;
  return item.verdict === "pass"
    ? element("a", { class: "button teaches", href: address }, "Is it a defect? Answer")
    : element("a", { class: "button primary teaches", href: address }, "Is it good? Answer");
}

/** Fill a list with the regions. */
export function regions(root, item) {
  const lines = item.regions.map((region, index) => {
    const [x0, y0, x1, y1] = region.box_xyxy;
    return element("li", {}, `Region ${index + 1}: x ${x0} to ${x1}, y ${y0} to ${y1}, ${number(region.area_pixels)} pixels (${region.area_percent.toFixed(2)} % of the image)`);
  });
  root.replaceChildren(...(lines.length ? lines : [element("li", { class: "faint" }, "No region stands out.")]));
}

/** Fill a gallery with the most similar references. */
export function references(root, item) {
  gallery(root, item.similar.map((match) => ({
    source: `${of(item.category, "references", "thumbnail")}?${new URLSearchParams({ name: match.image })}`,
    name: match.image,
    text: `similarity ${match.similarity.toFixed(2)}${match.itself ? ", the same image" : ""}`,
  })), "This bank has no similar references.", SIMILARITY);
}

/** Fill a gallery with the most similar defects. */
export function defects(root, item) {
  gallery(root, item.similar_defects.map((match) => ({
    source: `${of(item.category, "defects", "thumbnail")}?${new URLSearchParams({ name: match.name })}`,
    name: match.name,
    text: `${match.label ?? "no label"}${match.synthetic ? ", synthetic" : ""}, similarity ${match.similarity.toFixed(2)}`,
  })), item.verdict === "pass" ? "A part that passes is not compared with defects." : "No defects are recorded yet: answer “defect” on the Review page to record some.", SIMILARITY);
}

const SIMILARITY = "Similarity is 1 for the same picture, 0 for one that shares only what all references share, and negative for one that differs the other way.";

function gallery(root, pictures, none, note = null) {
  root.replaceChildren(...(pictures.length
    ? pictures.map(({ source, name, text }) => figure({}, element("img", { src: source, alt: name }), name, text))
      .concat(note ? [element("p", { class: "small faint" }, note)] : [])
    : [element("p", { class: "faint" }, none)]));
}
