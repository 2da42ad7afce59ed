/* The glue of a label audit's report: choosing a kind, searching, and the order of the findings. */
import { theme } from "./theme_button.js";

const rows = [...document.querySelectorAll("#findings tbody tr")];
const kind = document.getElementById("filter-kind"), search = document.getElementById("filter-text"), order = document.getElementById("order");

function filter() {
  const wanted = search.value.trim().toLowerCase();
  for (const row of rows) {
    row.hidden = (kind.value && row.dataset.kind !== kind.value) || (wanted && !row.textContent.toLowerCase().includes(wanted));
  }
  const left = rows.filter((row) => !row.hidden).length;
  document.getElementById("filter-count").textContent = left === rows.length ? "" : `${left} of ${rows.length} listed`;
  document.getElementById("filter-none").hidden = left > 0;
}

function sort() {
  const [name, sign] = order.value === "loss" ? ["loss", -1] : [order.value, 1];
  const value = (row) => (row.dataset[name] ? sign * Number(row.dataset[name]) : Infinity);
  rows.sort((first, second) => value(first) - value(second));
  document.querySelector("#findings tbody").append(...rows);
}

if (rows.length) {
  document.getElementById("filters").hidden = false;
  kind.addEventListener("change", filter);
  search.addEventListener("input", filter);
  order.addEventListener("change", sort);
}
theme();
