// How the pages write numbers, times and figures.

export const number = (value) => value.toLocaleString();

/** A number of things: "1 image", "2 images". */
export const count = (many, word, words = `${word}s`) => `${number(many)} ${many === 1 ? word : words}`;

/** How many of some images are independent of one another, where not all are. */
export const independentOf = (many, independent) => (independent < many ? `, ${number(independent)} of them independent of one another` : "");

/** A share in per cent. */
export const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;

/** Bytes as megabytes, without the unit. */
export const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

export const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** What the service says in the middle of a line, as a sentence; a name at its beginning stays as it is. */
export const sentence = (text) => `${/^\S*[._/\\\d]\S/.test(text) ? text : capital(text)}${/[.!?]$/.test(text) ? "" : "."}`;

/** A file's name without its folders. */
export const baseName = (name) => name.split("/").pop();

export const clock = (text) => new Date(text).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const dateTime = (text) => new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

/** How rare a p-value is, in words. */
export function rarity(p) {
  if (p === null || p === undefined) return "";
  if (p > 0.5) return "Most good parts look this unusual.";
  return `At most 1 good part in ${number(Math.floor(1 / p))} looks this unusual.`;
}

/** A score against the limit, in words. */
export function againstLimit(item) {
  if (!(item.fail_above > 0)) return `score ${item.score.toPrecision(4)}`;
  const share = (item.score / item.fail_above).toFixed(2);
  if (item.verdict === "review") return `${share} times the limit: between the two limits`;
  return `${share} times the limit`;
}
