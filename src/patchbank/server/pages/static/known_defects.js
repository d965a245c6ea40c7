// Known defects on the Bank page: how many each limit finds, and the limit at which mistakes cost least.

import { ask, of, Problem } from "./api.js";
import { element, find, whenPressed } from "./elements.js";
import { number, percent, sentence } from "./words.js";

const interval = ([low, high]) => `${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)} %`;

export class KnownDefects {
  /** @param {ScoreChart} chart; @param use called with the rate of false alarms that a person wants */
  constructor(category, chart, use) {
    this.category = category;
    this.chart = chart;
    this.use = use;
    this.found = null;
    this.judging = false;
    whenPressed(find("costs"), () => this.#propose());
  }

  /** Judge them, which takes seconds, and show them; return the limits with what each finds, or null. */
  async load() {
    const known = find("known");
    find("proposal").hidden = true;
    const { items } = await ask(`${of(this.category, "defects")}?limit=1`);
    if (!items.length) {
      known.textContent = "No defects are recorded yet. Answer “defect” on the Review page to record some: you then see here how many of them each limit finds.";
      return null;
    }
    if (this.found === null) {
      known.textContent = "Judging the recorded defects…";
      this.judging = true;
      // They have their lines from now on, so that nothing moves under a finger later.
      this.chart.changed();
    }
    const limits = await this.#ask({});
    this.judging = false;
    if (limits === null) return null;
    this.found = limits.known_defects;
    find("costs").hidden = false;
    const left = limits.remarks.length ? ` ${limits.remarks.map(sentence).join(" ")}` : "";
    known.textContent = `Recall is the share of the recorded defects that fails, the miss rate the share that does not. With defects like these, the true share is within the interval, with 95 % confidence.${left}`;
    find("chart").parentElement.classList.add("known");
    find("of-defects").hidden = false;
    this.chart.showDefects(this.found.scores);
    return limits;
  }

  /** How many of them the limits of the chart would find, as facts. */
  facts() {
    const titles = ["Known defects that would fail: recall", "Known defects that would not fail: miss rate", "Of these, that would pass without a review"];
    if (this.found === null) return this.judging ? titles.map((title) => [title, "being judged…"]) : [];
    const { scores, intervals } = this.found;
    const above = (limit) => scores.filter((score) => score > limit).length;
    const share = (found) => `${number(found)} of ${number(scores.length)} (${percent(found / scores.length)}), 95 % interval ${interval(intervals[found])}`;
    const [failing, stopped] = [above(this.chart.failAbove), above(this.chart.passBelow)];
    return [failing, scores.length - failing, scores.length - stopped].map((some, index) => [titles[index], share(some)]);
  }

  async #ask(costs) {
    try {
      return await ask(`${of(this.category, "thresholds")}?${new URLSearchParams({ recorded_defects: true, ...costs })}`);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      find("known").textContent = sentence(`The recorded defects cannot be judged: ${error.message}`);
      return null;
    }
  }

  async #propose() {
    const costs = Object.fromEntries(new FormData(find("costs")));
    costs.defect_rate = Number(costs.defect_rate) / 100;
    const answer = await this.#ask(costs);
    if (answer === null) return;
    const { proposal, fail_above: inUse } = answer;
    const button = element("button", { type: "button", class: "teaches" }, "Use this rate of false alarms");
    whenPressed(button, () => this.use(proposal.false_alarm_rate));
    find("proposal").replaceChildren(
      element("p", {}, `Mistakes cost least with ${proposal.text}.`),
      element("p", { class: "small" }, "Reviews are not counted. Defects that are not recorded may be fainter: this is only as good as the recorded ones."),
      ...(proposal.fail_above === inUse ? [element("p", {}, "It is the limit in use.")] : [button]),
    );
    find("proposal").hidden = false;
  }
}
