// Files that are dropped anywhere on a page.

/** Call `take` with what was dropped; `.drop` shows where while something hangs over the page. */
export function onDrop(take) {
  const area = document.querySelector(".drop");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); area.classList.add("over"); });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) area.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    take(event.dataTransfer);
  });
}
