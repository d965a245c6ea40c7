// What the pages are made of: elements, pictures, and what is said for a moment.

import { of, Problem } from "./api.js";
import { baseName, sentence } from "./words.js";

export const find = (id) => document.getElementById(id);

function withAttributes(made, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  return made;
}

/** Make an element: element("p", {class: "faint"}, "text", child). */
export function element(name, attributes = {}, ...children) {
  const made = withAttributes(document.createElement(name), attributes);
  made.append(...children);
  return made;
}

/** Make an element of a drawing. */
export const shape = (name, attributes) => withAttributes(document.createElementNS("http://www.w3.org/2000/svg", name), attributes);

/** Make a rectangle of a drawing from the pixels of its corners. */
export const outline = ([x0, y0, x1, y1], attributes = {}) => shape("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, ...attributes });

/** A small picture of an inspection, as attributes of an image; it may not have been kept. */
export function smallPicture(category, number, side, alt = "") {
  return { src: `${of(category, "inspections", number, "picture")}?side=${side}&optional=true`, alt, loading: "lazy" };
}

/** A picture of a gallery: `words` below it, then the image's name. */
export function figure(attributes, picture, name, ...words) {
  return element("figure", attributes, picture,
    element("figcaption", {}, ...words, element("br"), element("span", { class: "faint", title: name }, baseName(name))));
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

/** Show a sentence for a moment. */
export function toast(text) {
  const item = element("div", { class: "toast" }, text);
  document.querySelector(".toasts").append(item);
  setTimeout(() => item.remove(), 6000);
}

/** Return what `work` does; if the service refuses it, say so in the page's `#refused`, and return null. */
export async function attempt(work) {
  const refused = find("refused");
  refused.hidden = true;
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    refused.textContent = sentence(error.message);
    refused.hidden = false;
    refused.scrollIntoView({ block: "nearest" });
    return null;
  }
}

/** Do `work` at each press of a button, or whenever a form is sent: once at a time, and the focus stays. */
export function whenPressed(target, work) {
  const isForm = target.matches("form");
  const button = isForm ? target.querySelector("button:not([type])") : target;
  target.addEventListener(isForm ? "submit" : "click", async (event) => {
    event.preventDefault();
    if (button.ariaDisabled) return;
    button.ariaDisabled = "true";
    try {
      await attempt(work);
    } finally {
      button.ariaDisabled = null;
    }
  });
}

/** Copy what an element says. */
export async function copy(source) {
  // Browsers lend the clipboard only over HTTPS and on the service's machine; a selection can be copied anywhere.
  let isCopied = await navigator.clipboard?.writeText(source.textContent).then(() => true, () => false);
  if (!isCopied) {
    getSelection().selectAllChildren(source);
    isCopied = document.execCommand("copy");
  }
  toast(isCopied ? "Copied." : "It is selected: copy it with Ctrl+C, or by a long press.");
}
