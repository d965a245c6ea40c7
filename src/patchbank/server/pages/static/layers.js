// A picture with its anomaly map above it, regions outlined, and a slider for the map.

import { of } from "./api.js";
import { element, outline, shape } from "./elements.js";

export class Layers {
  /** @param {HTMLElement} root of the class `layers`; @param {HTMLInputElement} slider 0 to 100 */
  constructor(root, slider) {
    this.slider = slider;
    this.number = null;
    this.picture = element("img", { alt: "" });
    this.map = element("img", { class: "map", alt: "", hidden: true });
    this.outlines = shape("svg", {});
    this.none = element("p", { class: "none", hidden: true });
    root.append(this.picture, this.map, this.outlines, this.none);
    this.map.addEventListener("load", () => this.map.removeAttribute("hidden"));
    this.map.addEventListener("error", () => this.map.setAttribute("hidden", ""));
    slider.addEventListener("input", () => this.#fade());
    this.#fade();
  }

  /** Show an inspection; what is shown stays until its picture is there. */
  async show(item) {
    this.number = item.inspection_id;
    const answer = await fetch(of(item.category, "inspections", item.inspection_id, "picture") + "?optional=true").catch(() => null);
    const found = answer?.status === 200 ? await answer.blob() : null;
    if (this.number !== item.inspection_id) return; // another one was asked for meanwhile
    this.none.hidden = found !== null;
    this.picture.hidden = found === null;
    this.outlines.toggleAttribute("hidden", found === null);
    this.map.setAttribute("hidden", "");
    if (found === null) {
      this.none.textContent = "The image of this inspection was not kept. Your administrator decides which are kept.";
      return;
    }
    URL.revokeObjectURL(this.picture.src);
    this.picture.src = URL.createObjectURL(found);
    this.picture.alt = `${item.image}: ${item.verdict}`;
    this.map.src = of(item.category, "inspections", item.inspection_id, "map") + "?optional=true";
    const [width, height] = answer.headers.get("x-image-size").split("x").map(Number);
    this.outlines.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.outlines.replaceChildren(...item.regions.map((region) => outline(region.box_xyxy)));
  }

  #fade() {
    this.map.style.opacity = this.slider.value / 100;
  }
}
