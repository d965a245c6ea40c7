// Asks the service, and says what went wrong in its own words.

// What only programs can call; a message may name it as a remedy.
const CALL = /(?:;|(?<=\?)) `GET [^`]+`[^;]*|: `POST [^`]+`/g;

export class Problem extends Error {
  constructor(document) {
    super(document.detail.replaceAll(CALL, ""));
    this.document = document;
  }

  /** Whether somebody else changed the bank, so that it is not the one that the page shows. */
  get isStale() {
    return ["bank-changed", "bank-replaced"].some((kind) => this.document.type === `urn:patchbank:problem:${kind}`);
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

const below = (root, ...parts) => [root, ...parts.map(encodeURIComponent)].join("/");

/** The address of something of a category. */
export const of = (category, ...parts) => below("/v1/categories", category, ...parts);

/** The address of a page of a category. */
export const pageOf = (category, ...parts) => below("/categories", category, ...parts);
