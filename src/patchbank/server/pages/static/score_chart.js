// Histograms of scores with two limits above them, to be dragged or moved by keys.

const SVG = "http://www.w3.org/2000/svg";
const BINS = 60;
const WIDTH = 1000;
const HALF = 150;

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
    this.used = { passBelow, failAbove };
    const scores = [...good, ...inspected, passBelow, failAbove];
    const [least, most] = [Math.min(...scores), Math.max(...scores)];
    const margin = 0.05 * (most - least || Math.abs(most) || 1);
    this.lowest = Math.max(0, least - margin);
    this.highest = most + margin;
    this.reset();
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
    const bars = [
      ...this.#bars(this.good, () => "good", (height) => [HALF - height, height]),
      ...this.#bars(this.inspected, (score) => (score > this.failAbove ? "fail" : score > this.passBelow ? "review" : "pass"), (height) => [HALF, height]),
    ];
    const axis = document.createElementNS(SVG, "line");
    for (const [key, value] of Object.entries({ x1: 0, x2: WIDTH, y1: HALF, y2: HALF })) axis.setAttribute(key, value);
    this.chart.replaceChildren(...bars, axis);
    for (const [name, handle] of Object.entries(this.handles)) {
      handle.style.left = `${(100 * (this[name] - this.lowest)) / (this.highest - this.lowest)}%`;
      handle.setAttribute("aria-valuemin", this.lowest.toPrecision(4));
      handle.setAttribute("aria-valuemax", this.highest.toPrecision(4));
      handle.setAttribute("aria-valuenow", this[name].toPrecision(4));
    }
    this.changed();
  }

  // Good references stand on the axis, inspections hang below it; each has its own scale.
  #bars(scores, classOf, reach) {
    const size = (this.highest - this.lowest) / BINS;
    const bins = Array.from({ length: BINS }, () => []);
    for (const score of scores) bins[Math.min(BINS - 1, Math.max(0, Math.floor((score - this.lowest) / size)))].push(score);
    const most = Math.max(1, ...bins.map((some) => some.length));
    return bins.flatMap((some, index) => {
      let done = 0;
      return ["pass", "good", "review", "fail"].flatMap((kind) => {
        const many = some.filter((score) => classOf(score) === kind).length;
        if (!many) return [];
        const scale = (0.82 * HALF) / most;
        const [y, height] = reach(many * scale);
        const bar = document.createElementNS(SVG, "rect");
        const box = { x: (index * WIDTH) / BINS + 1, width: WIDTH / BINS - 2, y: y + (y === HALF ? done * scale : 0), height, class: kind };
        for (const [key, value] of Object.entries(box)) bar.setAttribute(key, value);
        done += many;
        return [bar];
      });
    });
  }
}
