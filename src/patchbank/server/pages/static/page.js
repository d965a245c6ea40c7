// What the bar at the top does on every page.

const choice = document.querySelector("#category-choice");
choice?.addEventListener("change", () => choice.form.requestSubmit());
const stations = document.querySelector("#stations select");
stations?.addEventListener("change", () => stations.form.requestSubmit());
