// Asks the service, and says what went wrong in its own words.

export class Problem extends Error {
  constructor(document) {
    super(document.detail);
    this.document = document;
  }
}

/** Return the answer's JSON; throw a Problem for one that is not a success. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Problem({ status: 0, detail: "The service does not answer. Check that it runs and that this device is connected." });
  }
  if (answer.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  if (!answer.ok) {
    let document;
    try {
      document = await answer.json();
    } catch {
      document = { status: answer.status, detail: `The service answered ${answer.status}.` };
    }
    throw new Problem(document);
  }
  return answer.status === 204 ? null : answer.json();
}

/** Send JSON. */
export function send(path, body, method = "POST") {
  return ask(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

/** The address of something of a category. */
export function of(category, ...parts) {
  return ["/v1/categories", ...[category, ...parts].map((part) => encodeURIComponent(part))].join("/");
}

/** The address of a page of a category. */
export function pageOf(category, ...parts) {
  return ["/categories", ...[category, ...parts].map((part) => encodeURIComponent(part))].join("/");
}

/** A small picture of an inspection, as attributes of an image; it may not have been kept. */
export function smallPicture(category, number, side, alt = "") {
  return { src: `${of(category, "inspections", number, "picture")}?side=${side}&optional=true`, alt, loading: "lazy" };
}

/** A share in per cent. */
export function percent(value) {
  return `${Number((100 * value).toPrecision(3))} %`;
}

/** Show a sentence for a moment. */
export function toast(text) {
  const area = document.querySelector(".toasts");
  const item = document.createElement("div");
  item.className = "toast";
  item.textContent = text;
  area.append(item);
  setTimeout(() => item.remove(), 6000);
}

/** Copy what an element says; browsers allow it only over HTTPS and on the service's machine. */
export async function copy(source) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(source.textContent);
    toast("Copied.");
    return;
  }
  getSelection().selectAllChildren(source);
  toast("It is selected: copy it with Ctrl+C, or by a long press.");
}

/** Return what `work` does; if the service refuses it, say so in the page's `#refused`, and return null. */
export async function attempt(work) {
  const refused = document.querySelector("#refused");
  refused.hidden = true;
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    refused.textContent = error.message;
    refused.hidden = false;
    refused.scrollIntoView({ block: "nearest" });
    return null;
  }
}

/** Make an element: element("p", {class: "faint"}, "text", child). */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** The colour, shape and word of a verdict. */
export function verdictMark(verdict) {
  return element("span", { class: `verdict ${verdict}` }, verdict);
}

/** An inspection in a strip: its picture and its verdict, to be pressed. */
export function stripButton(item, label) {
  const picture = element("img", { ...smallPicture(item.category, item.inspection_id, 128), loading: null, width: 64, height: 64 });
  picture.addEventListener("error", () => picture.replaceWith(element("span", { class: "none" })));
  return element("button", {
    type: "button", class: item.verdict, "aria-label": `${item.verdict}, ${label}`,
  }, picture, verdictMark(item.verdict));
}

export function clock(text) {
  return new Date(text).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** How rare a p-value is, in words. */
export function rarity(p) {
  if (p === null || p === undefined) return "";
  if (p > 0.5) return "Most good parts look this unusual.";
  return `At most 1 good part in ${Math.floor(1 / p).toLocaleString()} looks this unusual.`;
}

/** A score against the limit, in words. */
export function againstLimit(item) {
  if (!(item.fail_above > 0)) return `score ${item.score.toPrecision(4)}`;
  const share = (item.score / item.fail_above).toFixed(2);
  if (item.verdict === "review") return `${share} times the limit: between the two limits`;
  return `${share} times the limit`;
}
