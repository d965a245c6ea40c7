// A spot of a picture: which patch of the bank is nearest to it, and the reference it came from.

import { ask, attempt, element, of } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";

export class Spots {
  /** @param {Layers} layers; @param {HTMLElement} root where the answer is shown */
  constructor(layers, root) {
    this.layers = layers;
    this.root = root;
    this.item = null;
    layers.picture.addEventListener("click", (event) => this.#ask(event));
  }

  /** Answer for this inspection from now on. */
  show(item) {
    this.item = item;
    this.mark = null;
    this.root.replaceChildren(element("p", { class: "small faint" }, "Click a spot of the picture to see which patch of the bank is most like it."));
  }

  async #ask(event) {
    const { item, layers } = this;
    if (item === null) return;
    // The picture may have margins in its element.
    const [, , width, height] = layers.outlines.getAttribute("viewBox").split(" ").map(Number);
    const box = layers.picture.getBoundingClientRect();
    const scale = Math.min(box.width / width, box.height / height);
    const x = (event.clientX - box.left - (box.width - scale * width) / 2) / scale;
    const y = (event.clientY - box.top - (box.height - scale * height) / 2) / scale;
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const found = await attempt(() => ask(`${of(item.category, "inspections", item.inspection_id, "nearest")}?${new URLSearchParams({ x, y, top: 3 })}`));
    if (!found || this.item !== item) return;
    this.mark?.remove();
    this.mark = document.createElementNS(SVG, "rect");
    const [x0, y0, x1, y1] = found.box_xyxy;
    for (const [name, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: "spot" })) this.mark.setAttribute(name, value);
    layers.outlines.append(this.mark);
    this.root.replaceChildren(
      element("h3", {}, `Nearest patches of the bank to the spot at x ${Math.round(x)}, y ${Math.round(y)}`),
      element("div", { class: "gallery" }, ...found.nearest.map((patch) => element("figure", {},
        patch.thumbnail ? element("img", { src: patch.thumbnail, alt: patch.image }) : element("span", { class: "none" }),
        element("figcaption", {}, `distance ${patch.distance.toPrecision(3)}`, patch.box_xyxy ? `, there at x ${patch.box_xyxy[0]} to ${patch.box_xyxy[2]}, y ${patch.box_xyxy[1]} to ${patch.box_xyxy[3]}` : "",
          element("br"), element("span", { class: "faint", title: patch.image ?? "" }, patch.image ? patch.image.split("/").pop() : "its reference is not known"))))),
    );
  }
}
