// Work of minutes: images are sent, and the job that follows is watched until it has ended.

import { Problem } from "./api.js";

/** The files that are images, by their type or their name. */
export const imagesOf = (files) => files.filter((file) => file.type.startsWith("image/") || /\.tiff?$/i.test(file.name));

/** Send images, and return the job; `tell` is called with the bytes sent and in all, `stop` gets what ends it. */
export function sent(address, files, tell, stop, undone) {
  const form = new FormData();
  // Files of several folders may have the same name.
  for (const file of files) form.append("image", file, file.webkitRelativePath || file.name);
  return new Promise((done, failed) => {
    // Fetch does not say how much was sent.
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.upload.addEventListener("progress", (event) => tell(event.loaded, event.total));
    request.addEventListener("load", () => {
      const answer = JSON.parse(request.responseText);
      if (request.status === 202) done(answer);
      else failed(new Problem(answer));
    });
    request.addEventListener("error", () => failed(new Problem({ detail: `The service does not answer, or broke the connection off. ${undone}` })));
    stop(() => { request.abort(); failed(new Problem({ detail: `Cancelled. ${undone}` })); });
    request.send(form);
  });
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
  if (job.total) left.push(`${job.done.toLocaleString()} of ${job.total.toLocaleString()}${unit}`);
  if (job.rate) left.push(`${job.rate.toPrecision(2)} a second`);
  if (job.seconds_left !== null) left.push(job.seconds_left < 90 ? `about ${Math.ceil(job.seconds_left)} s left in this step` : `about ${Math.ceil(job.seconds_left / 60)} min left in this step`);
  return left.join(", ");
}
