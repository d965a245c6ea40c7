// The study on the Bank page: parts of known answer are judged, and the figures of the last study shown.

import { ask, of, Problem, send } from "./api.js";
import { onChosen } from "./drop.js";
import { element, figure, find, verdictMark } from "./elements.js";
import { follow, howFar, imagesOf, isRunning, Progress } from "./jobs.js";
import { againstLimit, count, dateTime, sentence } from "./words.js";

const UNDONE = "No study was made.";
const OUTCOMES = ["unstable", "missed", "false alarm"];

// The first parts have pictures; studies of earlier versions have none.
function pictures(result, part) {
  const shown = part.images.filter((each) => result.pictures?.[each.image]);
  return element("div", { class: "gallery" }, ...shown.map((each) => figure({},
    element("img", { src: `data:image/jpeg;base64,${result.pictures[each.image]}`, alt: each.image }), each.image,
    verdictMark(each.verdict), ` ${againstLimit({ ...each, fail_above: result.fail_above })}`)));
}

export class Study {
  constructor(category) {
    this.category = category;
    this.files = [];
    this.progress = new Progress(find("study-progress"));
    onChosen(find("study-files"), (files) => this.#choose(files));
    find("study-form").addEventListener("submit", (event) => { event.preventDefault(); this.#start(); });
  }

  /** Show the last study, and follow one that runs; `version` of the bank judges now. */
  async load(version) {
    this.version = version;
    const { items } = await ask(`/v1/jobs?${new URLSearchParams({ category: this.category, kind: "check", limit: 20 })}`);
    const last = items.find((job) => job.state === "done");
    if (last) this.#show(last);
    else find("study-none").hidden = false;
    if (items.length && isRunning(items[0])) this.#follow(items[0]);
  }

  #choose(found) {
    this.files = imagesOf(found);
    const folder = found[0]?.webkitRelativePath.split("/")[0];
    find("study-chosen").textContent = this.files.length
      ? `${count(this.files.length, "image")} in the folder ${folder}`
      : "No image is in this folder.";
  }

  async #start() {
    const folder = find("study-folder")?.value.trim();
    const address = of(this.category, "check");
    this.#refuse(null);
    if (!this.files.length && !folder) {
      this.#refuse("Choose the folder of a study first.");
      return;
    }
    find("study-form").hidden = true;
    try {
      const job = this.files.length
        ? await this.progress.send(address, this.files, UNDONE)
        : await send(address, { folder });
      this.#follow(job);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#refuse(error.message);
    }
  }

  #refuse(text) {
    this.progress.hide();
    find("study-form").hidden = false;
    find("study-refused").hidden = text === null;
    find("study-refused").textContent = text === null ? "" : sentence(text);
  }

  #follow(job) {
    find("study-form").hidden = true;
    this.progress.onCancel(() => send(`/v1/jobs/${job.job_id}/cancel`, {}).catch((error) => this.#refuse(error.message)));
    follow(job.job_id, (found) => {
      if (isRunning(found)) this.progress.show(found.state === "waiting" ? "Waiting for another job to end" : "Judging the parts", found.done, found.total, howFar(found));
      else if (found.state === "done") { this.#refuse(null); this.#show(found); }
      else this.#refuse(found.state === "cancelled" ? `Cancelled. ${UNDONE}` : found.error ?? UNDONE);
    });
  }

  #show({ result, ended_at: ended, created_by: by }) {
    const words = result.in_words;
    // In the order of the words: sorting keeps the order of those that are alike.
    const conspicuous = result.parts.filter((part) => OUTCOMES.includes(part.outcome)).sort((a, b) => OUTCOMES.indexOf(a.outcome) - OUTCOMES.indexOf(b.outcome));
    find("study-none").hidden = true;
    find("study").hidden = false;
    const when = dateTime(ended);
    find("study-headline").textContent = words.headline;
    find("study-when").textContent = `Made ${when} by ${by}; parts told by ${result.parts_told_by}.`;
    find("study-figures").querySelector("tbody").replaceChildren(...words.figures.map((figure) => element("tr", {},
      element("th", { scope: "row" }, figure.title, element("br"), element("span", { class: "small faint" }, figure.meaning)),
      element("td", { class: "number" }, figure.value),
      element("td", {}, figure.count),
      element("td", {}, figure.interval),
      element("td", {}, figure.reading))));
    find("study-bounds").replaceChildren(...[words.bounds, words.review].map((text) => element("p", { class: "small faint" }, sentence(text))));
    find("study-parts").replaceChildren(...(words.conspicuous.length
      ? words.conspicuous.map((text, index) => element("li", {}, sentence(text), pictures(result, conspicuous[index])))
      : [element("li", {}, "No part is unstable, missed or falsely rejected.")]));
    const earlier = result.bank_version === this.version ? [] : [`The study is of version ${result.bank_version}; version ${this.version} judges now. Make it again with the same parts.`];
    const notes = [...earlier, ...[...result.left_out, ...result.remarks].map(sentence), ...result.refused.map((each) => `${each.image}: ${each.error}`)];
    find("study-notes").replaceChildren(...notes.map((text) => element("p", { class: "notice careful" }, text)));
  }
}
