// The map of a bank: its patches in the plane, coloured by how far each is from those of other references.

import { ask, of } from "./api.js";
import { element, find, outline, shape } from "./elements.js";
import { baseName, number, percent } from "./words.js";

const STEPS = 4;
const MARGIN = 14;
const RADII = [3, 3.5, 4.5, 5.5, 7];
// So far from a point, in pixels, a finger still means it.
const REACH = 24;
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class BankMap {
  constructor(category) {
    this.category = category;
    this.plane = find("plane");
    this.chosen = null;
    this.plane.addEventListener("click", (event) => this.#press(event));
    this.plane.addEventListener("keydown", (event) => this.#key(event));
    find("farther").addEventListener("click", () => this.#step(-1));
    find("nearer").addEventListener("click", () => this.#step(1));
    new ResizeObserver(() => this.#draw()).observe(this.plane);
  }

  async load() {
    this.map = await ask(of(this.category, "map"));
    const { distance, explained, patches, fail_above: limit } = this.map;
    // The least covered first: an unknown distance is none.
    this.order = distance.map((_, point) => point).sort((a, b) => (distance[b] ?? -1) - (distance[a] ?? -1));
    this.chosen = null;
    const known = distance.filter((value) => value !== null);
    this.least = Math.min(...known);
    const most = Math.max(...known);
    this.limit = limit;
    this.end = limit !== null && limit > this.least && limit < most ? limit : most;
    const shown = distance.length < patches ? `${number(distance.length)} of its ${number(patches)} patches are shown, drawn at random` : `All ${number(patches)} patches are shown`;
    find("shown").textContent = `${shown}. The two directions hold ${percent(explained[0] + explained[1])} of the differences between them (principal components), so that patches which lie together may still differ.`;
    const alone = limit === null ? 0 : known.filter((value) => value > limit).length;
    find("alone").textContent = limit === null || !known.length ? "" : alone === 0
      ? "No patch shown is farther from those of other references than the limit: each is covered by another reference too."
      : `${alone === 1 ? "1 patch shown is" : `${number(alone)} patches shown are`} farther from those of other references than the limit. Check what they show; add more good parts that look like them, or withdraw the reference if it shows a defect.`;
    this.#legend(known.length > 0);
    find("map-answer").replaceChildren(element("p", { class: "small faint" }, "Click a point, or use the buttons or the arrow keys, to see which reference it comes from and where."));
    find("map-card").hidden = false;
    this.#draw();
  }

  /** Which step of the scale a distance is in; the last is above the limit. */
  #step_of(distance) {
    if (distance === null || this.end === this.least) return 0;
    if (this.limit !== null && distance > this.limit) return STEPS;
    return Math.min(STEPS - 1, Math.floor((STEPS * (distance - this.least)) / (this.end - this.least)));
  }

  #legend(known) {
    const size = (this.end - this.least) / STEPS;
    const counts = Array(STEPS + 1).fill(0);
    for (const distance of this.map.distance) counts[this.#step_of(distance)] += 1;
    const times = (value) => (this.limit > 0 ? `${(value / this.limit).toFixed(2)}` : value.toPrecision(3));
    const unit = this.limit > 0 ? "times the limit" : "as an anomaly score";
    find("map-legend").replaceChildren(...(known ? counts : []).flatMap((points, step) => {
      if (step === STEPS && this.limit === null) return [];
      const text = step === STEPS ? `above the limit of ${this.limit.toPrecision(4)}` : `${times(this.least + step * size)} to ${times(this.least + (step + 1) * size)} ${unit}`;
      const sample = shape("svg", { viewBox: "-8 -8 16 16", width: 16, height: 16, "aria-hidden": "true" });
      sample.append(this.#mark(step, 0, 0));
      return [element("li", {}, sample, `${text}: ${number(points)}`)];
    }));
  }

  #mark(step, x, y) {
    const radius = RADII[step];
    if (step < STEPS) return shape("circle", { cx: x, cy: y, r: radius, class: `step-${step}` });
    return shape("path", { d: `M${x} ${y - radius}l${radius} ${radius}l${-radius} ${radius}l${-radius} ${-radius}z`, class: `step-${step}` });
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.plane;
    if (!this.map || !width) return;
    const { x, y, distance } = this.map;
    const [left, right, low, high] = [Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)];
    // The same scale for both directions, so that distances can be compared.
    const scale = Math.min((width - 2 * MARGIN) / (right - left || 1), (height - 2 * MARGIN) / (high - low || 1));
    this.points = x.map((_, point) => [
      width / 2 + scale * (x[point] - (left + right) / 2),
      height / 2 - scale * (y[point] - (low + high) / 2),
    ]);
    // What is least covered lies on top.
    const marks = [...this.order].reverse().map((point) => this.#mark(this.#step_of(distance[point]), ...this.points[point].map((at) => Math.round(10 * at) / 10)));
    this.ring = shape("circle", { r: 11, class: "ring" });
    this.plane.querySelector("svg").replaceChildren(...marks, this.ring);
    this.#place();
  }

  #place() {
    this.ring.style.display = this.chosen === null ? "none" : "";
    if (this.chosen === null) return;
    const [x, y] = this.points[this.chosen];
    this.ring.setAttribute("cx", x);
    this.ring.setAttribute("cy", y);
  }

  #press(event) {
    const box = this.plane.getBoundingClientRect();
    const at = [event.clientX - box.left, event.clientY - box.top];
    const far = (point) => Math.hypot(this.points[point][0] - at[0], this.points[point][1] - at[1]);
    // Of points that lie upon one another, the one on top.
    const nearest = this.order.reduce((best, point) => (far(point) < far(best) ? point : best), this.order[0]);
    if (far(nearest) <= REACH) this.#choose(nearest);
  }

  #key(event) {
    if (event.key === "Home" || (WAYS[event.key] && this.chosen === null)) {
      event.preventDefault();
      this.#choose(this.order[0]);
      return;
    }
    const way = WAYS[event.key];
    if (!way) return;
    event.preventDefault();
    const [x, y] = this.points[this.chosen];
    let best = null;
    let least = Infinity;
    this.points.forEach(([left, top], point) => {
      const along = (left - x) * way[0] + (top - y) * way[1];
      const across = Math.abs((left - x) * way[1]) + Math.abs((top - y) * way[0]);
      if (along <= 0.5 || across > along || along + across >= least) return;
      least = along + across;
      best = point;
    });
    if (best !== null) this.#choose(best);
  }

  #step(way) {
    const now = this.chosen === null ? -way : this.order.indexOf(this.chosen);
    const next = this.chosen === null ? 0 : now + way;
    this.#choose(this.order[Math.min(this.order.length - 1, Math.max(0, next))]);
  }

  #choose(point) {
    this.chosen = point;
    this.#place();
    const { distance, reference, references, box_xyxy: boxes } = this.map;
    const rank = this.order.indexOf(point) + 1;
    find("farther").disabled = rank === 1;
    find("nearer").disabled = rank === this.order.length;
    const far = distance[point];
    const times = this.limit > 0 && far !== null ? `, ${(far / this.limit).toFixed(2)} times the limit` : "";
    const lines = [
      element("p", {}, far === null ? "There is no other reference to cover it." : `${far.toPrecision(4)} to the nearest patch of another reference${times}.`),
      element("p", { class: "small faint" }, `${number(rank)} of ${number(this.order.length)}, the least covered first.`),
    ];
    const image = reference[point] === null ? null : references[reference[point]];
    if (image === null) {
      find("map-answer").replaceChildren(...lines, element("p", {}, "Its reference is not known."));
      return;
    }
    const [x0, y0, x1, y1] = boxes[point];
    const over = shape("svg", { viewBox: `0 0 ${image.width} ${image.height}`, "aria-hidden": "true" });
    over.append(outline(boxes[point], { class: "spot" }));
    find("map-answer").replaceChildren(
      element("div", { class: "layers" }, element("img", { src: image.thumbnail, alt: image.name }), over),
      ...lines,
      element("p", {}, element("span", { title: image.name }, baseName(image.name)), `, at x ${x0} to ${x1}, y ${y0} to ${y1} pixels`),
    );
  }
}
