// What every page does: the choices of its bar are followed, and the keyboard's focus is never lost.

import { keepFocus } from "./focus.js";

for (const choice of document.querySelectorAll("#category-choice, #stations select")) {
  const shown = choice.value;
  const go = () => { if (choice.value !== shown) choice.form.requestSubmit(); };
  // Arrow keys pass what is on their way: it is not meant before Enter, or before the focus moves on.
  let onTheWay = false;
  choice.addEventListener("pointerdown", () => { onTheWay = false; });
  choice.addEventListener("keydown", ({ key }) => { onTheWay = key !== "Enter"; if (!onTheWay) go(); });
  choice.addEventListener("change", () => { if (!onTheWay) go(); });
  choice.addEventListener("blur", go);
}
keepFocus();
