/* While something is looked for: once it is found, the page is loaded again. */
const id = () => document.getElementById("insight-id").dataset.id;
const before = id();
document.addEventListener("refreshed", () => { if (id() !== before) location.reload(); });
