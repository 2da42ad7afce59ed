/* The graphs of the story: a click or the arrow keys choose a point, and its image is shown. */
import { byId } from "./elements.js";
import { theme } from "./theme_button.js";

const SIDE = 340, TILE = 64, ACROSS = 50;
const graphs = JSON.parse(byId("points").textContent);

for (const drawn of document.querySelectorAll(".story-graph")) {
  const points = graphs[Number(drawn.dataset.graph)];
  const mark = drawn.querySelector(".story-mark"), seen = byId(`seen-${drawn.dataset.graph}`);
  const face = seen.querySelector(".story-picture"), words = seen.querySelector(".story-words");
  const incoming = points.map((point, place) => place).filter((place) => points[place][3].startsWith("incoming"))
    .sort((a, b) => points[a][0] - points[b][0]);
  let chosen = -1;
  const choose = (place) => {
    chosen = place;
    const [x, y, tile, said] = points[place];
    mark.setAttribute("cx", x);
    mark.setAttribute("cy", y);
    face.hidden = false;
    face.style.backgroundPosition = `${-TILE * (tile % ACROSS)}px ${-TILE * Math.floor(tile / ACROSS)}px`;
    words.textContent = said;
  };
  drawn.addEventListener("click", (event) => {
    const box = drawn.getBoundingClientRect(), scale = SIDE / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    const away = points.map(([a, b]) => (a - x) ** 2 + (b - y) ** 2);
    choose(away.indexOf(Math.min(...away)));
  });
  drawn.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = incoming.indexOf(chosen);
    choose(incoming[at < 0 ? 0 : (at + step + incoming.length) % incoming.length]);
  });
}
theme();
