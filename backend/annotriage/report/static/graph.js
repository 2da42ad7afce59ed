/* An attribution graph: a vertex chosen isolates the paths through it, and its patches show below. Text from data is only ever set as text. */
import { byId } from "./elements.js";

/** Make the picture answer to clicks and keys. */
export function attributionGraph() {
  const picture = document.querySelector("svg.graph");
  if (!picture) return;
  const vertices = [...picture.querySelectorAll(".g-vertex")], edges = [...picture.querySelectorAll(".g-edge")];
  const panels = [...document.querySelectorAll("[data-panel]")], said = byId("graph-said"), all = byId("graph-all"), shared = byId("graph-shared");

  /** All that leads to a vertex, or from it, along the edges. */
  const reached = (key, from, to) => {
    const found = new Set([key]), used = new Set();
    for (const now of found) for (const edge of edges) if (edge.dataset[from] === now) { used.add(edge); found.add(edge.dataset[to]); }
    return [found, used];
  };

  function show(key) {
    const [before, into] = key === null ? [new Set(), new Set()] : reached(key, "to", "from");
    const [behind, out] = key === null ? [new Set(), new Set()] : reached(key, "from", "to");
    picture.classList.toggle("isolated", key !== null);
    for (const vertex of vertices) {
      vertex.classList.toggle("on-path", before.has(vertex.dataset.key) || behind.has(vertex.dataset.key));
      vertex.setAttribute("aria-pressed", String(vertex.dataset.key === key));
    }
    for (const edge of edges) edge.classList.toggle("on-path", into.has(edge) || out.has(edge));
    for (const panel of panels) panel.hidden = panel.dataset.panel !== key;
    byId("graph-none").hidden = key !== null;
    all.hidden = key === null;
    const count = new Set([...before, ...behind]).size;
    said.textContent = key === null ? "" : `${count} ${count === 1 ? "channel lies" : "channels lie"} on paths through it.`;
  }

  const toggle = (vertex) => show(vertex.getAttribute("aria-pressed") === "true" ? null : vertex.dataset.key);
  for (const vertex of vertices) {
    vertex.addEventListener("click", () => toggle(vertex));
    vertex.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      toggle(vertex);
    });
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") show(null); });
  all.addEventListener("click", () => show(null));
  shared?.addEventListener("change", () => picture.classList.toggle("shared", shared.checked));
  show(null);
}
