// The grid of items: the order is taken at once, and faces change their size without the page being loaded again.
const filters = document.getElementById("filters");
filters.addEventListener("change", () => filters.requestSubmit());

const grid = document.getElementById("grid");
for (const link of document.querySelectorAll("a.zoom")) {
  link.addEventListener("click", (event) => {
    if (!grid || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    grid.className = `grid zoom-${link.dataset.zoom}`;
    for (const other of document.querySelectorAll("a.zoom")) other.toggleAttribute("aria-current", false);
    link.setAttribute("aria-current", "true");
    history.replaceState(null, "", link.href);
    // What leads on from here keeps the size.
    for (const other of document.querySelectorAll("#facets a[href], #next, #grid a, .more a")) {
      const address = new URL(other.href);
      address.searchParams.set("zoom", link.dataset.zoom);
      other.href = address;
    }
    for (const form of [filters, document.getElementById("keep-view")]) keepZoom(form, link.dataset.zoom);
  });
}

function keepZoom(form, zoom) {
  const query = form.querySelector('input[name="query"]');
  if (query) {
    const kept = new URLSearchParams(query.value);
    kept.set("zoom", zoom);
    query.value = kept;
    return;
  }
  const field = form.querySelector('input[name="zoom"]') ?? form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name: "zoom" }));
  field.value = zoom;
}
