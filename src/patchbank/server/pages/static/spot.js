// A spot of a picture: which patch of the bank is nearest to it, and the reference it came from.

import { ask, of } from "./api.js";
import { attempt, element, outline, shape } from "./elements.js";
import { baseName } from "./words.js";

// An arrow key moves the crosshair by this share of the longer side; with Shift, by a pixel.
const STEP = 1 / 40;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Spots {
  /** @param {Layers} layers; @param {HTMLElement} root where the answer is shown */
  constructor(layers, root) {
    this.layers = layers;
    this.item = null;
    this.words = element("p", { class: "small faint", role: "status" });
    this.answer = element("div", { "aria-live": "polite" });
    root.replaceChildren(this.words, this.answer);
    const box = layers.picture.parentElement;
    for (const [name, value] of Object.entries({
      tabindex: 0, role: "application", "aria-roledescription": "picture with a crosshair",
      "aria-label": "Picture: the arrow keys move a crosshair, Enter asks for the nearest patches of the bank, Escape takes it away",
    })) box.setAttribute(name, value);
    box.addEventListener("keydown", (event) => this.#key(event));
    layers.picture.addEventListener("click", (event) => this.#click(event));
  }

  /** Answer for this inspection from now on. */
  show(item) {
    this.item = item;
    this.mark = null;
    this.cross = null;
    this.at = null;
    this.words.textContent = "Click a spot of the picture to see which patch of the bank is most like it; by keyboard, move there with the arrow keys and press Enter.";
    this.answer.replaceChildren();
  }

  /** Width and height of the image in pixels; undefined where there is no picture. */
  get #size() {
    const { outlines } = this.layers;
    return outlines.hasAttribute("hidden") ? undefined : outlines.getAttribute("viewBox")?.split(" ").slice(2).map(Number);
  }

  #key(event) {
    if (this.item === null || !this.#size || event.ctrlKey || event.altKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) this.#move(arrow, event.shiftKey);
    else if ((event.key === "Enter" || event.key === " ") && this.at) this.#ask(...this.at.map((value) => value + 0.5), this.at); // a pixel's middle
    else if (event.key === "Escape" && this.cross) this.#clear();
    else return;
    event.preventDefault();
  }

  #move([right, down], fine) {
    const [width, height] = this.#size;
    const step = fine ? 1 : Math.max(1, Math.round(Math.max(width, height) * STEP));
    // The first press shows it in the middle.
    const [x, y] = this.at ?? [Math.floor(width / 2) - right * step, Math.floor(height / 2) - down * step];
    const within = (value, most) => Math.min(Math.max(value, 0), most - 1);
    this.at = [within(x + right * step, width), within(y + down * step, height)];
    this.cross?.remove();
    const [cx, cy] = this.at.map((value) => value + 0.5);
    this.cross = shape("path", { d: `M${cx} 0V${height}M0 ${cy}H${width}`, class: "cross" });
    this.layers.outlines.append(this.cross);
    this.words.textContent = `Crosshair at x ${this.at[0]}, y ${this.at[1]} of ${width} × ${height} pixels. Enter asks for the nearest patches; Shift moves it by one pixel.`;
  }

  #clear() {
    this.cross.remove();
    this.cross = null;
    this.at = null;
    this.words.textContent = "The crosshair is gone. An arrow key shows it again.";
  }

  #click(event) {
    if (this.item === null || !this.#size) return;
    // The picture may have margins in its element.
    const [width, height] = this.#size;
    const box = this.layers.picture.getBoundingClientRect();
    const scale = Math.min(box.width / width, box.height / height);
    const x = (event.clientX - box.left - (box.width - scale * width) / 2) / scale;
    const y = (event.clientY - box.top - (box.height - scale * height) / 2) / scale;
    if (x >= 0 && y >= 0 && x < width && y < height) this.#ask(x, y);
  }

  async #ask(x, y, shown = [Math.round(x), Math.round(y)]) {
    const { item, layers } = this;
    const found = await attempt(() => ask(`${of(item.category, "inspections", item.inspection_id, "nearest")}?${new URLSearchParams({ x, y, top: 3 })}`));
    if (!found || this.item !== item) return;
    this.mark?.remove();
    this.mark = outline(found.box_xyxy, { class: "spot" });
    layers.outlines.append(this.mark);
    this.answer.replaceChildren(
      element("h3", {}, `Nearest patches of the bank to the spot at x ${shown[0]}, y ${shown[1]}`),
      element("div", { class: "gallery" }, ...found.nearest.map((patch) => element("figure", {},
        patch.thumbnail ? element("img", { src: patch.thumbnail, alt: patch.image }) : element("span", { class: "none" }),
        element("figcaption", {}, `distance ${patch.distance.toPrecision(3)}`, patch.box_xyxy ? `, there at x ${patch.box_xyxy[0]} to ${patch.box_xyxy[2]}, y ${patch.box_xyxy[1]} to ${patch.box_xyxy[3]}` : "",
          element("br"), element("span", { class: "faint", title: patch.image ?? "" }, patch.image ? baseName(patch.image) : "its reference is not known"))))),
    );
  }
}
