/* The page of one image: a place is chosen by a click; a piece to paste is dragged over, and put where somebody clicks. The form's numbers
 * are what is sent, so that all of it works by keyboard. Text from data is only ever set as text. */
import { byId, make } from "./shared/elements.js";

const percent = (share) => `${(100 * share).toFixed(1).replace(/\.0$/, "")}`;
const field = (name) => byId(`paste-${name}`);
const value = (name) => Number(field(name).value) / 100;

/** Lay a frame over a picture. box: left, top, width, height in shares. */
function frame(stage, [left, top, width, height]) {
  const shown = stage.querySelector(".frame");
  shown.hidden = false;
  shown.setAttribute("style", `left:${100 * left}%;top:${100 * top}%;width:${100 * width}%;height:${100 * height}%`);
}

/** Where in a picture something happened, in shares of it. */
function placeOf(stage, event) {
  const box = stage.querySelector("img").getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((share) => Math.min(1, Math.max(0, share)));
}

function drawFrames() {
  frame(byId("source"), [value("left"), value("top"), value("width"), value("height")]);
  frame(byId("target"), [value("at-left"), value("at-top"), value("width"), value("height")]);
}

function set(values) {
  for (const [name, share] of Object.entries(values)) field(name).value = percent(share);
  drawFrames();
}

const source = byId("source"), target = byId("target");
if (source) {
  let start = null;
  source.addEventListener("pointerdown", (event) => { start = placeOf(source, event); source.setPointerCapture(event.pointerId); event.preventDefault(); });
  source.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const end = placeOf(source, event), corner = [0, 1].map((axis) => Math.min(start[axis], end[axis]));
    set({ left: corner[0], top: corner[1], width: Math.max(0.02, Math.abs(end[0] - start[0])), height: Math.max(0.02, Math.abs(end[1] - start[1])) });
  });
  source.addEventListener("pointerup", () => { start = null; });
  target.addEventListener("click", (event) => {
    const [x, y] = placeOf(target, event);
    set({ "at-left": Math.min(0.99, Math.max(0, x - value("width") / 2)), "at-top": Math.min(0.99, Math.max(0, y - value("height") / 2)) });
  });
  for (const name of ["left", "top", "width", "height", "at-left", "at-top"]) field(name).addEventListener("input", drawFrames);
  drawFrames();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-place]");
  if (button === null) return;
  const { top, box, cell } = JSON.parse(button.dataset.place), classes = JSON.parse(byId("place").dataset.classes);
  for (const other of document.querySelectorAll("[data-place]")) other.setAttribute("aria-pressed", String(other === button));
  frame(button.closest(".stage"), [box[1], box[0], box[3] - box[1], box[2] - box[0]]);
  const rows = top.map(([kind, weight]) => make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, classes[kind])), make("td", { class: "figure" }, `${weight >= 0 ? "+" : ""}${weight.toFixed(3)}`)));
  byId("place").replaceChildren(make("h3", {}, "What this place speaks for"), make("table", { class: "plain" }, make("tbody", {}, ...rows)),
    cell ? make("p", { class: "muted" }, `Most like cell ${cell.x + 1}, ${cell.y + 1} of the atlas (cosine ${cell.cosine.toFixed(2)}).`) : "");
});
