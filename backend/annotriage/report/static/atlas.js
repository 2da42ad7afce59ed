/* The glue of atlas.html: its data and pictures lie in the file. Text from data is only ever set as text. */
import { byId, make } from "./elements.js";
import { walkAtlas } from "./atlas_walk.js";
import { theme } from "./theme_button.js";

const data = JSON.parse(byId("data").textContent), pictures = byId("pictures").textContent;
const { items, classes } = data, strange = new Set(items.strange);
const KINDS = { "/9j/": "jpeg", iVBO: "png" };

/** A piece of the run of pictures, or words where there is none. */
function picture(place, attributes = {}) {
  const text = place === null || place === undefined ? "" : pictures.slice(place ? data.ends[place - 1] : 0, data.ends[place]);
  const kind = KINDS[text.slice(0, 4)];
  return kind ? make("img", { src: `data:image/${kind};base64,${text}`, alt: "", loading: "lazy", ...attributes }) : null;
}

const none = () => make("span", { class: "no-picture" }, "no picture");
const patch = (item, layer) => picture(data.layers[layer].patches?.[item], { class: "patch" });
const madeOf = (layer, level) => data.layers[layer].levels[level].made ?? null;

const face = (item, layer) => make("figure", { class: items.wrong[item] ? "wrong" : "", title: items.id[item] }, picture(item) ?? none(), patch(item, layer),
  make("bdi", {}, items.id[item]), make("bdi", { class: "muted" }, `${items.label[item] || "–"} → ${classes[items.predicted[item]]?.name ?? "–"}`));

walkAtlas({ classes, items, bank: data.bank, layers: data.layers.map(({ name }) => name), strange: strange.size, usual: items.predicted.map((_, item) => item).filter((item) => !strange.has(item)) }, {
  layer: (place) => Promise.resolve(data.layers[place]),
  face,
  itemName: (item) => items.id[item],
  strangeName: (place) => items.id[items.strange[place]],
  cellFace: (layer, level, place, cell) => patch(cell.items[0], layer) ?? picture(cell.items[0]),
  madeFace: (layer, level, place) => (madeOf(layer, level) ? picture(madeOf(layer, level)[place].picture) : null),
  madeCosine: (layer, level, place) => madeOf(layer, level)?.[place].cosine ?? 0,
  aboutStrange: (place) => {
    const item = items.strange[place], kind = items.predicted[item];
    const said = kind < 0 ? "" : `The model calls it ${classes[kind].name}, ${(100 * items.sure[item]).toFixed(0)}% sure. `;
    return [make("h3", {}, "A strange item"), make("div", { class: "faces" }, face(item, 0)), make("p", {}, `${said}It lies where the most similar usual items lie.`)];
  },
});
theme();
