// Where the keyboard's focus goes when what has it vanishes: to what it was in.

const isThere = (each) => each.isConnected && each.checkVisibility() && !each.matches(":disabled");

/** From now on, give the focus of what is removed, hidden or disabled to the nearest part of the page around it. */
export function keepFocus() {
  let path = []; // what has the focus, and all around it
  document.addEventListener("focusin", ({ target }) => {
    path = [];
    for (let each = target; each; each = each.parentElement) path.push(each);
  });
  // A press beside everything takes the focus away on purpose.
  document.addEventListener("pointerdown", () => { path = []; });
  let checking = null;
  const check = () => {
    checking = null;
    const [held] = path;
    if (!held || isThere(held) || ![held, document.body].includes(document.activeElement)) return;
    const near = path.find((each) => each.matches("[tabindex], section, form, main") && isThere(each));
    if (!near) return;
    if (!near.hasAttribute("tabindex")) near.setAttribute("tabindex", "-1");
    near.focus({ preventScroll: true });
  };
  new MutationObserver(() => { checking ??= setTimeout(check); }).observe(document.body, {
    subtree: true, childList: true, attributes: true, attributeFilter: ["hidden", "disabled"],
  });
}
