/* Before there is an atlas, and while another one is drawn: once it is there, the page is loaded again. */
const id = () => document.getElementById("atlas-id").dataset.id;
const before = id();
document.addEventListener("refreshed", () => { if (id() !== before) location.reload(); });
