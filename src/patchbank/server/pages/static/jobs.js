// Work of minutes: images are sent, and the job that follows is watched until it has ended.

import { Problem } from "./api.js";
import { megabytes, number } from "./words.js";

/** The files that are images, by their type or their name. */
export const imagesOf = (files) => files.filter((file) => file.type.startsWith("image/") || /\.tiff?$/i.test(file.name));

/** A part of a page that shows how far something is, and cancels it. */
export class Progress {
  /** @param {HTMLElement} root with a `.stage`, a bar, a `.left` and a button */
  constructor(root) {
    this.root = root;
  }

  /** Show how much of `total` is done; the bar says nothing if that is not known. */
  show(stage, done, total, left) {
    this.root.hidden = false;
    this.root.querySelector(".stage").textContent = stage;
    const bar = this.root.querySelector("progress");
    if (total) { bar.max = total; bar.value = done; } else bar.removeAttribute("value");
    this.root.querySelector(".left").textContent = left;
  }

  hide() {
    this.root.hidden = true;
  }

  onCancel(work) {
    this.root.querySelector("button").onclick = work;
  }

  /** Send images, and return the job; `undone` says what comes of it if they do not arrive. */
  send(address, files, undone) {
    const form = new FormData();
    // Files of several folders may have the same name.
    for (const file of files) form.append("image", file, file.webkitRelativePath || file.name);
    return new Promise((done, failed) => {
      // Whoever leaves now loses what was sent; the work itself goes on without the page.
      const ask = (event) => event.preventDefault();
      addEventListener("beforeunload", ask);
      this.root.dataset.sending = "";
      // Fetch does not say how much was sent.
      const request = new XMLHttpRequest();
      request.open("POST", address);
      request.upload.addEventListener("progress", ({ loaded, total }) => this.show("Sending the images", loaded, total, `${megabytes(loaded)} of ${megabytes(total)} MB`));
      request.addEventListener("load", () => {
        const answer = JSON.parse(request.responseText);
        if (request.status === 202) done(answer);
        else failed(new Problem(answer));
      });
      request.addEventListener("error", () => failed(new Problem({ detail: `The service does not answer, or broke the connection off. ${undone}` })));
      request.addEventListener("loadend", () => { removeEventListener("beforeunload", ask); delete this.root.dataset.sending; });
      this.onCancel(() => { request.abort(); failed(new Problem({ detail: `Cancelled. ${undone}` })); });
      request.send(form);
    });
  }
}

export const isRunning = (job) => ["waiting", "running"].includes(job.state);

/** Call `show` with a job whenever it has changed, until it has ended. */
export function follow(id, show) {
  const stream = new EventSource(`/v1/jobs/${id}/events`);
  stream.addEventListener("job", (event) => {
    const found = JSON.parse(event.data);
    if (!isRunning(found)) stream.close();
    show(found);
  });
}

/** How far a job is, in words; `unit` is what it counts. */
export function howFar(job, unit = "") {
  const left = [];
  if (job.total) left.push(`${number(job.done)} of ${number(job.total)}${unit}`);
  if (job.rate) left.push(`${job.rate.toPrecision(2)} a second`);
  if (job.seconds_left !== null) left.push(job.seconds_left < 90 ? `about ${Math.ceil(job.seconds_left)} s left in this step` : `about ${Math.ceil(job.seconds_left / 60)} min left in this step`);
  return left.join(", ");
}
