// The New category page: images of good parts in, a bank out; followed while it is learned.

import { of, pageOf, Problem, send } from "./api.js";
import { onChosen, onDrop } from "./drop.js";
import { attempt, element, find, whenPressed } from "./elements.js";
import { facts } from "./evidence.js";
import { follow, howFar, imagesOf, isRunning, Progress } from "./jobs.js";
import { capital, count, independentOf, megabytes, number, percent, sentence } from "./words.js";

const STAGES = {
  features: "Looking at the images", coreset: "Choosing what the bank keeps", calibration: "Judging each image by the bank without it",
  calibrate: "Judging each image by the bank without it", resolution: "Trying resolutions", "coresets of parts": "Choosing what the bank keeps",
  recall: "Checking the search", sample: "Compressing the bank", "bit depth": "Reading the images",
  dependence: "Looking for images of the same part", database: "Saving the bank",
};
// What is counted while a stage lasts.
const COUNTED = { features: " images", calibrate: " images", "bit depth": " images", resolution: " settings" };
const PREVIEWS = 12;
const progress = new Progress(find("progress"));
let files = [];
let job = null;
let wasRunning = false;

function choose(found) {
  const key = (file) => `${file.webkitRelativePath || file.name} ${file.size} ${file.lastModified}`;
  const images = imagesOf(found);
  // What is given later comes to what was given before.
  files = [...new Map([...files, ...images].map((file) => [key(file), file])).values()];
  const size = files.reduce((sum, file) => sum + file.size, 0);
  const others = found.length - images.length;
  const words = [files.length ? `${count(files.length, "image")}, ${megabytes(size)} MB.` : "No image is among these files."];
  if (others && files.length) words.push(`${count(others, "other file")} left out: no image.`);
  if (files.length) words.push(advice(files.length));
  find("chosen").textContent = words.join(" ");
  find("clear").hidden = files.length === 0;
  for (const image of find("previews").querySelectorAll("img")) URL.revokeObjectURL(image.src);
  find("previews").replaceChildren(...files.slice(0, PREVIEWS).map((file) => element("img", { src: URL.createObjectURL(file), alt: file.name, title: file.name })),
    ...(files.length > PREVIEWS ? [element("span", { class: "small faint" }, `and ${number(files.length - PREVIEWS)} more`)] : []));
}

// What so few images can promise: with n of them, no limit is exceeded by fewer than 1 in n + 1 good parts.
function advice(many) {
  const asked = 1 / Number(find("rate").value);
  if (many < 5) return `At least 5 are needed: give ${5 - many} more.`;
  if (many + 1 < asked) return `You can begin with these: at best 1 false alarm in ${number(many + 1)} good parts. For 1 in ${number(asked)}, give ${number(asked - 1 - many)} more, now or later.`;
  return "";
}

// Of a dropped folder, all files below it.
async function entries(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => { entry.file(done, failed); })];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => { reader.readEntries(done, failed); });
    if (!some.length) break;
    for (const each of some) found.push(...await entries(each));
  }
  return found;
}

function show(found) {
  job = found;
  history.replaceState(null, "", `?job=${found.job_id}`);
  const running = isRunning(found);
  if (found.state === "done" && wasRunning) {
    // With the new category in the bar.
    location.reload();
    return;
  }
  wasRunning = running;
  find("fit").hidden = running || found.state === "done";
  if (!running) progress.hide();
  find("result").hidden = found.state !== "done";
  if (running) {
    const stage = STAGES[found.stage] ?? (found.stage ? capital(found.stage) : "Starting");
    progress.show(`${found.category}: ${found.state === "waiting" ? "Waiting for another job to end" : stage}`, found.done, found.total, howFar(found, COUNTED[found.stage]));
    progress.onCancel(() => attempt(() => send(`/v1/jobs/${found.job_id}/cancel`, {})));
    return;
  }
  if (found.state === "done") showResult(found);
  else attempt(() => { throw new Problem({ detail: found.state === "cancelled" ? "Cancelled. Nothing was learned, and what was there stays." : found.error ?? "The work was interrupted. Nothing was learned." }); });
}

const RESOLUTION = "resolution chosen: ";
function showResult(found) {
  const { result } = found;
  const chosen = result.remarks.find((text) => text.startsWith(RESOLUTION));
  find("headline").textContent = `${result.category} is learned, as version ${result.bank_version}`;
  // The page was loaded anew: whoever uses the keyboard begins at what came of it.
  if (document.activeElement === document.body) {
    find("headline").tabIndex = -1;
    find("headline").focus();
  }
  find("facts").replaceChildren(facts([
    ["Good images", `${number(result.images)}${independentOf(result.images, result.independent_references)}`],
    ["Bank", `${number(result.bank_size)} patches, which stand for all ${number(result.patches)} of the images`],
    ["Passes up to", `an anomaly score of ${result.pass_below.toPrecision(4)}`],
    ["Fails above", `${result.fail_above.toPrecision(4)}${result.pass_below === result.fail_above ? "; with limits that are the same, no part waits for a person between them" : ""}`],
    ["False alarms", `at most ${percent(result.stated_false_alarm_rate)} of good parts, on average`],
    ["Can see", chosen?.slice(chosen.indexOf(": ", RESOLUTION.length) + 2)],
  ]));
  find("notes").replaceChildren(...result.remarks.filter((text) => text !== chosen).map((text) => element("p", { class: "notice careful" }, sentence(text))));
  list("refusals", result.refused);
  list("left-out", result.screening?.left_out ?? []);
  list("apart", result.suspicious?.images ?? []);
  find("to-inspect").href = pageOf(result.category, "inspect");
  find("to-bank").href = pageOf(result.category, "bank");
  find("to-line").href = pageOf(result.category, "line");
}

function list(id, images) {
  find(id).hidden = images.length === 0;
  find(id).querySelector("ul").replaceChildren(...images.map((each) => element("li", {}, each.error ? `${each.image}: ${each.error}` : each.name)));
}

whenPressed(find("fit"), async () => {
  const folder = find("folder")?.value.trim();
  if (!files.length && !folder) throw new Problem({ detail: "Choose images of good parts first." });
  const query = new URLSearchParams({ false_alarm_rate: find("rate").value, screen: find("screen").checked });
  const address = `${of(find("name").value.trim(), "fit")}?${query}`;
  find("fit").hidden = true;
  try {
    job = files.length ? await progress.send(address, files, "Nothing was learned.") : await send(address, { folder });
  } catch (error) {
    progress.hide();
    find("fit").hidden = false;
    throw error;
  }
  show(job);
  follow(job.job_id, show);
});
for (const id of ["files", "folder-files"]) onChosen(find(id), choose);
find("rate").addEventListener("change", () => { if (files.length) choose([]); });
find("clear").addEventListener("click", () => {
  files = [];
  choose([]);
  find("chosen").textContent = "";
});
const categories = new Set([...document.querySelectorAll("#category-choice option")].map((option) => option.value));
const checkName = () => { find("known").hidden = !categories.has(find("name").value.trim()); };
find("name").addEventListener("input", checkName);
// Somebody may have begun before this was loaded.
checkName();
onDrop(async ({ items }) => {
  // What comes from another program than a file manager may be a file without an entry.
  const dropped = [...items].filter((item) => item.kind === "file").map((item) => [item.webkitGetAsEntry(), item.getAsFile()]);
  choose((await Promise.all(dropped.map(([entry, file]) => (entry ? entries(entry) : [file])))).flat());
});
const asked = new URLSearchParams(location.search).get("job");
if (asked) follow(Number(asked), show);
