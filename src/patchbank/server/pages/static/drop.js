// Files that are dropped anywhere on a page, or chosen.

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

/** Call `take` with the files that are chosen, also with those chosen before this page's script was there. */
export function onChosen(input, take) {
  const taken = () => {
    const files = [...input.files];
    // The same may be chosen again.
    input.value = "";
    if (files.length) take(files);
  };
  input.addEventListener("change", taken);
  setTimeout(taken);
}
