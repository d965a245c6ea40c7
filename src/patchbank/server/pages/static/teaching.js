// Teaching on the Bank page: images of good parts are added, held images decided, references withdrawn.

import { ask, of, send } from "./api.js";
import { onChosen } from "./drop.js";
import { attempt, element, figure, find, toast, whenPressed } from "./elements.js";
import { count, number, sentence } from "./words.js";

const AT_ONCE = 50;

export class Teaching {
  /** @param {string} category; `changed` is called when the bank has changed; `change` changes it as it is shown. */
  constructor(category, changed, change) {
    this.category = category;
    this.changed = changed;
    this.change = change;
    onChosen(find("add"), (files) => attempt(() => this.#add(files)));
    for (const id of ["confirm", "dismiss"]) whenPressed(find(id), () => this.#decide(id));
    whenPressed(find("withdraw"), () => this.#withdraw());
    this.references = new Set();
    this.held = new Set();
  }

  /** Make a picture that can be picked; `picked` is the set that has its key. */
  pick(figure, picked, key) {
    figure.setAttribute("role", "checkbox");
    figure.setAttribute("tabindex", "0");
    const show = () => {
      figure.setAttribute("aria-checked", String(picked.has(key)));
      find("withdraw").disabled = this.references.size === 0;
      find("withdraw").textContent = this.references.size ? `Withdraw ${count(this.references.size, "reference")}` : "Withdraw";
      for (const id of ["confirm", "dismiss"]) find(id).disabled = this.held.size === 0;
    };
    const turn = () => {
      if (!picked.delete(key)) picked.add(key);
      show();
    };
    figure.addEventListener("click", turn);
    figure.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      turn();
    });
    show();
    return figure;
  }

  /** Show what is held. */
  async drawHeld() {
    const { items } = await ask(of(this.category, "quarantine"));
    this.held.clear();
    find("held").hidden = items.length === 0;
    find("held-images").replaceChildren(...items.map((item) => this.pick(figure({},
      element("img", { src: item.picture, alt: item.name, loading: "lazy" }), item.name, item.reason),
    this.held, item.pixels_sha256)));
  }

  async #add(files) {
    const busy = find("adding");
    busy.hidden = false;
    const said = [];
    try {
      // A few at a time: each group is a version of the bank, and what was added stays if one is refused.
      for (let begin = 0; begin < files.length; begin += AT_ONCE) {
        busy.textContent = `Adding ${count(files.length, "image")}: ${number(begin)} done…`;
        const form = new FormData();
        for (const file of files.slice(begin, begin + AT_ONCE)) form.append("image", file, file.name);
        const add = (seen) => ask(`${of(this.category, "references")}?effect=100&${seen}`, { method: "POST", body: form });
        // The others follow, whatever else is taught meanwhile.
        const done = await (begin === 0 ? this.change(add) : add(""));
        said.push(...this.#summary(done));
      }
    } finally {
      busy.hidden = true;
      find("added").hidden = said.length === 0;
      find("added").replaceChildren(...said.map((line) => element("p", {}, line)));
      await this.changed();
    }
  }

  #summary(done) {
    const lines = [`${count(done.added.length, "image")} added. The bank has ${count(done.images, "reference")}; images fail above ${done.thresholds.fail_above.toPrecision(4)} (before, above ${done.thresholds_before.fail_above.toPrecision(4)}).`];
    if (done.held.length) lines.push(`${count(done.held.length, "image")} held, because the bank takes ${done.held.length === 1 ? "it" : "them"} for defective. Decide below.`);
    for (const image of done.refused) lines.push(`${image.image}: ${image.error}`);
    if (done.effect?.changes.length) lines.push(`${count(done.effect.changes.length, "recorded inspection")} would now get another verdict.`);
    return [...lines, ...done.remarks.map(sentence)];
  }

  async #decide(decision) {
    const decide = (seen) => send(`${of(this.category, "quarantine", decision)}?${seen}`, { pixels_sha256: [...this.held] });
    const done = await (decision === "dismiss" ? decide("") : this.change(decide));
    await this.changed();
    toast(decision === "dismiss" ? `${count(done.names.length, "image")} dismissed.` : this.#summary(done)[0]);
  }

  async #withdraw() {
    const done = await this.change((seen) => send(`${of(this.category, "references", "withdraw")}?${seen}`, { references: [...this.references] }));
    this.references.clear();
    await this.changed();
    toast(`${count(done.withdrawn.length, "reference")} withdrawn, as version ${done.bank_version}. “Undo the last change” brings ${done.withdrawn.length === 1 ? "it" : "them"} back.`);
  }
}
