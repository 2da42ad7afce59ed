/* The glue of the atlas in the dashboard: layers and pictures are fetched when they are wanted. Text from data is only ever set as text. */
import "./atlas_wait.js";
import { byId, make } from "./shared/elements.js";
import { walkAtlas } from "./shared/atlas_walk.js";

const ACROSS = 24; // tiles in a row of a picture of many
const app = byId("atlas"), facts = JSON.parse(app.dataset.facts), layers = new Map();
const piece = (name) => app.dataset.pieces.replace("NAME", name);
const numbered = (address, number) => address.replace("987654321", number);

async function fetched(address) {
  const answer = await fetch(address, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.json();
}

/** One tile of a picture of many. */
function tile(address, place, count) {
  const rows = Math.ceil(count / ACROSS), row = Math.floor(place / ACROSS);
  const y = rows > 1 ? (100 * row) / (rows - 1) : 0;
  return make("span", { class: "tile", style: `background-image:url("${address}");background-size:${100 * ACROSS}% ${100 * rows}%;background-position:${(100 * (place % ACROSS)) / (ACROSS - 1)}% ${y}%` });
}

const levelOf = (layer, level) => layers.get(layer).levels[level];

/** What the model made for a layer's cells of one size, as far as it is; null if nothing. */
function madeOf(layer, level) {
  const shown = byId("faces-made"), made = JSON.parse(shown.dataset.made)[`${layer}-${levelOf(layer, level).side}`];
  return made ? { ...made, address: `${shown.dataset.base.replace("NAME", `made-${layer}-${levelOf(layer, level).side}`)}?done=${made.done}` } : null;
}

const showChoice = () => { byId("faces-label").hidden = byId("faces-made").dataset.made === "{}"; };

async function start() {
  const [items, strange] = await Promise.all([fetched(piece("items")), facts.strange ? fetched(app.dataset.strange) : { items: [] }]);
  const name = (kind) => (kind < 0 ? "–" : facts.names[kind]);
  const thumbnail = (address) => make("img", { src: address, alt: "", loading: "lazy", decoding: "async" });
  const walk = walkAtlas({ classes: facts.classes, items, bank: facts.bank, layers: facts.layers.map((layer) => layer.name), strange: strange.items.length, usual: items.predicted.map((_, item) => item) }, {
    layer: async (place) => {
      if (!layers.has(place)) {
        const layer = await fetched(piece(`layer-${place}`));
        strange.items.forEach((item, at) => { if (item === null) layer.strange[at] = [null, null]; }); // deleted since
        layers.set(place, layer);
      }
      return layers.get(place);
    },
    face: (item) => make("figure", { class: items.wrong[item] ? "wrong" : "" },
      facts.pictured ? thumbnail(numbered(app.dataset.thumbnail, item)) : make("span", { class: "no-picture" }, "no picture"),
      make("bdi", { class: "muted" }, `${name(items.label[item])} → ${name(items.predicted[item])}`)),
    itemName: (item) => `training item ${item + 1}`,
    strangeName: (place) => strange.items[place].name,
    cellFace: (layer, level, place) => (facts.pictured ? tile(piece(`faces-${layer}-${levelOf(layer, level).side}`), place, levelOf(layer, level).cells.length) : null),
    madeFace: (layer, level, place) => {
      const made = madeOf(layer, level);
      return made && place < made.done ? tile(made.address, place, made.done) : null;
    },
    madeCosine: (layer, level, place) => madeOf(layer, level)?.cosine[place] ?? 0,
    aboutStrange: (place) => {
      const item = strange.items[place];
      return [make("h3", {}, "A strange item"), make("div", { class: "faces" }, make("figure", {}, thumbnail(numbered(app.dataset.itemThumbnail, item.item_id)),
        make("a", { href: app.dataset.item.replace("TASK", encodeURIComponent(item.name)) }, make("bdi", {}, item.name)))),
      make("p", {}, item.said === null ? "Nobody has answered it yet, so its class is not said here." : `People call it ${item.said.join(", ") || "none of the classes"}.`),
      make("p", { class: "muted" }, "It lies where the most similar training items lie.")];
    },
  });
  showChoice();
  byId("faces-job").addEventListener("refreshed", () => { showChoice(); walk.draw(); });
}

start().catch((error) => { byId("legend").textContent = `The atlas could not be loaded: ${error.message}. Load the page again.`; });
