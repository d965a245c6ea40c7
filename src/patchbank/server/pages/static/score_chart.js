// Histograms of scores with two limits above them, to be dragged or moved by keys.

import { shape } from "./elements.js";

const BINS = 60;
const WIDTH = 1000;
const HEIGHT = 300;
// Where a limit is so near to an end, its name has no room on that side.
const NEAR = 0.3;

export class ScoreChart {
  /** @param {SVGElement} chart 1000 by 300; @param {HTMLElement} pass, fail sliders; `changed` is called as they move. */
  constructor(chart, pass, fail, changed) {
    this.chart = chart;
    this.handles = { passBelow: pass, failAbove: fail };
    this.changed = changed;
    for (const [name, handle] of Object.entries(this.handles)) this.#listen(name, handle);
  }

  /** Show scores of good references and of inspections, and the limits in use. */
  show({ good, inspected, pass_below: passBelow, fail_above: failAbove }) {
    this.good = good;
    this.inspected = inspected;
    this.defects ??= [];
    this.used = { passBelow, failAbove };
    this.#fit();
    this.reset();
  }

  /** Show the scores of known defects too; the limits stay where they are. */
  showDefects(scores) {
    this.defects = scores;
    this.#fit();
    this.#draw();
  }

  /** The verdict of a score by the limits as they stand in the chart. */
  verdictOf(score) {
    return score > this.failAbove ? "fail" : score > this.passBelow ? "review" : "pass";
  }

  #fit() {
    const scores = [...this.good, ...this.inspected, ...this.defects, ...Object.values(this.used)];
    const [least, most] = [Math.min(...scores), Math.max(...scores)];
    const margin = 0.05 * (most - least || Math.abs(most) || 1);
    this.lowest = Math.max(0, least - margin);
    this.highest = most + margin;
  }

  /** Go back to the limits in use. */
  reset() {
    Object.assign(this, this.used);
    this.#draw();
  }

  #move(name, value) {
    const bounded = Math.min(this.highest, Math.max(this.lowest, value));
    this[name] = bounded;
    // The first limit is never above the second.
    if (name === "passBelow") this.failAbove = Math.max(this.failAbove, bounded);
    else this.passBelow = Math.min(this.passBelow, bounded);
    this.#draw();
  }

  #listen(name, handle) {
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      handle.focus();
      event.preventDefault();
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const box = this.chart.getBoundingClientRect();
      this.#move(name, this.lowest + ((event.clientX - box.left) / box.width) * (this.highest - this.lowest));
    });
    handle.addEventListener("keydown", (event) => {
      const step = (this.highest - this.lowest) / (event.shiftKey ? 20 : 200);
      const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      if (way === undefined) return;
      event.preventDefault();
      this.#move(name, this[name] + way * step);
    });
  }

  #draw() {
    // Good references stand on the axis, and inspections hang below it; known defects stand on the edge.
    const known = this.defects.length > 0;
    const axis = known ? 0.38 * HEIGHT : HEIGHT / 2;
    const byVerdict = (score) => this.verdictOf(score);
    const bars = [
      ...this.#bars(this.good, () => "good", axis, -0.82 * axis),
      ...this.#bars(this.inspected, byVerdict, axis, 0.82 * (known ? 0.26 * HEIGHT : axis)),
      ...this.#bars(this.defects, byVerdict, HEIGHT, -0.26 * HEIGHT),
    ];
    this.chart.replaceChildren(...bars, shape("line", { x1: 0, x2: WIDTH, y1: axis, y2: axis }));
    for (const [name, handle] of Object.entries(this.handles)) {
      const share = (this[name] - this.lowest) / (this.highest - this.lowest);
      handle.style.left = `${100 * share}%`;
      handle.classList.toggle("near", share < NEAR);
      handle.classList.toggle("far", share > 1 - NEAR);
      handle.setAttribute("aria-valuemin", this.lowest.toPrecision(4));
      handle.setAttribute("aria-valuemax", this.highest.toPrecision(4));
      handle.setAttribute("aria-valuenow", this[name].toPrecision(4));
    }
    this.changed();
  }

  // Bars from a line up (a negative reach) or down, each kind with its own scale.
  #bars(scores, classOf, from, reach) {
    const size = (this.highest - this.lowest) / BINS;
    const bins = Array.from({ length: BINS }, () => []);
    for (const score of scores) bins[Math.min(BINS - 1, Math.max(0, Math.floor((score - this.lowest) / size)))].push(score);
    const scale = Math.abs(reach) / Math.max(1, ...bins.map((some) => some.length));
    return bins.flatMap((some, index) => {
      let done = 0;
      return ["pass", "good", "review", "fail"].flatMap((kind) => {
        const height = some.filter((score) => classOf(score) === kind).length * scale;
        if (!height) return [];
        const y = reach < 0 ? from - done - height : from + done;
        done += height;
        return [shape("rect", { x: (index * WIDTH) / BINS + 1, width: WIDTH / BINS - 2, y, height, class: kind })];
      });
    });
  }
}
