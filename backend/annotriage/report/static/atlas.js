/* The glue of atlas.html: the plane of cells, the classes beside it, the panel with a cell's items. Text from data is only ever set as text. */
import { byId, make, number } from "./elements.js";
import { theme } from "./theme_button.js";

const data = JSON.parse(byId("data").textContent), pictures = byId("pictures").textContent;
const items = data.items, classes = data.classes;
const SERIES = 8, SMALLEST = 0.42, BOXES = 400;
const KINDS = { "/9j/": "jpeg", iVBO: "png" };
const state = { layer: 0, level: 1, cell: null, item: null, chosen: null, other: null };

const colour = (kind) => `var(--series-${kind % SERIES})`;
const share = (value) => `${(100 * value).toFixed(value > 0.995 && value < 1 ? 1 : 0)}%`;
const layer = () => data.layers[state.layer];
const cells = () => layer().levels[state.level].cells;

/** The picture of an item, or words where it has none. */
function picture(item) {
  const text = pictures.slice(item ? data.ends[item - 1] : 0, data.ends[item]);
  const kind = KINDS[text.slice(0, 4)];
  return kind ? make("img", { src: `data:image/${kind};base64,${text}`, alt: "", loading: "lazy" }) : make("span", { class: "no-picture" }, "no picture");
}

/** How much a cell speaks for a class; 0 where it is not among those that it says most about. */
const evidence = (cell, kind) => cell.speaks.find(([name]) => name === kind)?.[1] ?? 0;

/** Whether a cell speaks for a class, beside the cell that does so most. */
const speaks = (cell, kind, most) => evidence(cell, kind) > Math.max(0.25 * most, 0);

/** What a cell is to the chosen classes: "one", "other", "both" or "" (neither), all cells being "plain" where no class is chosen. */
function role(cell, strongest) {
  if (state.chosen === null) return "plain";
  const [one, other] = [state.chosen, state.other].map((kind) => kind !== null && speaks(cell, kind, strongest.get(kind)));
  return one && other ? "both" : one ? "one" : other ? "other" : "";
}

function drawPlane() {
  const { side } = layer().levels[state.level], plane = byId("plane");
  const most = Math.max(...cells().map((cell) => cell.n));
  const strongest = new Map([state.chosen, state.other].filter((kind) => kind !== null).map((kind) => [kind, Math.max(1e-9, ...cells().map((cell) => evidence(cell, kind)))]));
  const borders = { both: "var(--series-2)", one: state.chosen === null ? "" : "var(--auto)", other: "var(--outlier)", "": "var(--line)" };
  const counts = { one: 0, other: 0, both: 0 };
  const buttons = cells().map((cell, place) => {
    const is = role(cell, strongest), size = (100 / side) * (SMALLEST + (0.96 - SMALLEST) * Math.sqrt(cell.n / most));
    if (is in counts) counts[is] += 1;
    const face = picture(cell.items[0]), [kind, sure] = cell.top[0];
    return make("button", {
      type: "button", class: is === "" ? "faded" : "", "aria-pressed": String(state.cell === place),
      "aria-label": `Cell ${cell.x + 1}, ${cell.y + 1}: ${number.format(cell.n)} items, ${classes[kind].name} ${share(sure)}`,
      style: `left:${(100 * (cell.x + 0.5)) / side}%;top:${(100 * (cell.y + 0.5)) / side}%;width:${size}%;height:${size}%;border-color:${is === "plain" ? colour(kind) : borders[is]}`,
      click: () => { Object.assign(state, { cell: place, item: null }); draw(); },
    }, face.tagName === "IMG" ? face : make("span", { class: "cell-name" }, classes[kind].name.slice(0, 4)));
  });
  if (byId("show-strange").checked) {
    layer().strange.forEach(([x, y], place) => buttons.push(make("button", {
      type: "button", class: "strange", "aria-label": `Strange item ${items.id[items.strange[place]]}`, "aria-pressed": String(state.item === items.strange[place]),
      style: `left:${100 * x}%;top:${100 * y}%`, click: () => { Object.assign(state, { item: items.strange[place], cell: null }); draw(); },
    })));
  }
  if (byId("show-names").checked) {
    layer().places.forEach(([x, y], kind) => {
      if (x !== null) buttons.push(make("span", { class: "class-name", style: `left:${100 * x}%;top:${100 * y}%` }, classes[kind].name));
    });
  }
  plane.replaceChildren(...buttons);
  const name = (kind) => classes[kind].name;
  byId("legend").textContent = state.chosen === null ? `${number.format(cells().length)} cells hold items.`
    : state.other === null ? `${number.format(counts.one)} of ${number.format(cells().length)} cells speak for ${name(state.chosen)} (blue).`
      : `${number.format(counts.both)} cells speak for both (green), ${number.format(counts.one)} for ${name(state.chosen)} alone (blue), ${number.format(counts.other)} for ${name(state.other)} alone (orange).`;
}

function drawClasses() {
  const wanted = byId("class-search").value.trim().toLowerCase(), order = byId("class-order").value;
  const alike = (kind) => (state.chosen === null ? 0 : layer().similarity[state.chosen][kind] ?? -2);
  const by = {
    items: (a, b) => classes[b].items - classes[a].items, name: (a, b) => classes[a].name.localeCompare(classes[b].name, "en", { numeric: true }),
    right: (a, b) => (classes[a].right ?? 2) - (classes[b].right ?? 2), alike: (a, b) => alike(b) - alike(a),
  };
  const shown = classes.map((_, kind) => kind).filter((kind) => classes[kind].name.toLowerCase().includes(wanted)).sort(by[order]);
  byId("classes").replaceChildren(...shown.map((kind) => make("li", {}, make("button", {
    type: "button", "aria-pressed": String(state.chosen === kind),
    click: () => { Object.assign(state, { chosen: state.chosen === kind ? null : kind, cell: null, item: null }); draw(); },
  },
  make("span", { class: "swatch", style: `background:${colour(kind)}` }), make("bdi", {}, classes[kind].name),
  make("span", { class: "muted" }, order === "alike" && state.chosen !== null ? alike(kind).toFixed(2) : order === "right" && classes[kind].right !== null ? share(classes[kind].right) : number.format(classes[kind].items))))));
  byId("no-class").hidden = shown.length > 0;
}

const face = (item) => make("figure", { class: items.wrong[item] ? "wrong" : "", title: items.id[item] }, picture(item),
  make("bdi", {}, items.id[item]), make("bdi", { class: "muted" }, `${items.label[item] || "–"} → ${classes[items.predicted[item]]?.name ?? "–"}`));

/** Rows of a class and a figure. */
const rows = (pairs, figure) => make("table", { class: "plain" }, make("tbody", {}, ...pairs.map(([kind, value]) =>
  make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, classes[kind].name)), make("td", { class: "figure" }, figure(value))))));

function drawPanel() {
  const panel = byId("cell-panel");
  if (state.item !== null) {
    panel.replaceChildren(make("h3", {}, "A strange item"), make("div", { class: "faces" }, face(state.item)),
      make("p", {}, `${items.predicted[state.item] < 0 ? "" : `The model calls it ${classes[items.predicted[state.item]].name}, ${share(items.sure[state.item])} sure. `}It lies where the most similar usual items lie.`));
  } else if (state.cell !== null) {
    const cell = cells()[state.cell];
    panel.replaceChildren(make("h3", {}, `${number.format(cell.n)} ${cell.n === 1 ? "item" : "items"}${cell.wrong ? `, ${number.format(cell.wrong)} wrong` : ""}`),
      make("h4", {}, "What its mean activation stands for"), rows(cell.top, share),
      make("h4", {}, "What it speaks for, beside the average item"), rows(cell.speaks.filter(([, value]) => value > 0).slice(0, 3), (value) => `+${value.toFixed(2)}`),
      make("h4", {}, cell.n > cell.items.length ? `The ${cell.items.length} most central items` : "Its items"), make("div", { class: "faces" }, ...cell.items.map(face)));
  } else if (state.chosen !== null) {
    const kind = state.chosen, about = classes[kind];
    const near = layer().similarity[kind].map((value, other) => [other, value]).filter(([other, value]) => other !== kind && value !== null).sort((a, b) => b[1] - a[1]);
    const ordered = [...cells()].sort((a, b) => evidence(b, kind) - evidence(a, kind)).slice(0, 12);
    const best = ordered.filter((cell) => speaks(cell, kind, evidence(ordered[0], kind)));
    panel.replaceChildren(make("h3", {}, about.name),
      make("p", {}, `${number.format(about.items)} items are called so${about.right === null ? "" : `; of ${number.format(about.labelled)} that are, ${share(about.right)} are right`}.`),
      make("h4", {}, "Most alike to the model (cosine)"), rows(near.slice(0, 5), (value) => value.toFixed(2)),
      make("h4", {}, "Faces of the cells that speak most for it"), make("div", { class: "faces" }, ...best.map((cell) => face(cell.items[0]))));
  } else {
    panel.replaceChildren(make("p", { class: "muted" }, "Choose a cell to see its items, or a class to see which cells speak for it."));
  }
}

function drawBoxes() {
  const limit = Number(byId("threshold").value) / 100, strange = new Set(items.strange);
  const order = items.predicted.map((_, item) => item).filter((item) => !strange.has(item)).sort((a, b) => items.sure[b] - items.sure[a]);
  byId("boxes").replaceChildren(...classes.map((about, kind) => {
    const mine = order.filter((item) => items.predicted[item] === kind), wrong = mine.filter((item) => items.wrong[item]).length;
    const marked = mine.length > 0 && wrong / mine.length > limit;
    return make("div", {},
      make("span", { class: marked ? "warning" : "" }, make("bdi", {}, about.name), make("span", { class: "muted block" }, `${number.format(wrong)} of ${number.format(mine.length)} wrong`)),
      make("div", { role: "img", "aria-label": `${number.format(mine.length)} items called ${about.name}, ${number.format(wrong)} wrong` },
        ...mine.slice(0, BOXES).map((item) => make("i", { class: items.wrong[item] ? "wrong" : "", title: `${items.id[item]}: ${share(items.sure[item])}`, style: `opacity:${0.15 + 0.85 * items.sure[item]}` })),
        mine.length > BOXES ? make("span", { class: "muted" }, `and ${number.format(mine.length - BOXES)} less sure ones`) : null));
  }));
}

function draw() {
  drawPlane();
  drawClasses();
  drawPanel();
}

data.layers[0].levels.forEach(({ side }, place) => byId("level").append(make("option", { value: place }, `${side} × ${side}`)));
byId("level").value = String(state.level);
classes.forEach(({ name }, kind) => byId("other").append(make("option", { value: kind }, name)));
byId("layer").addEventListener("change", (event) => { Object.assign(state, { layer: event.target.selectedIndex, cell: null }); draw(); });
byId("level").addEventListener("change", (event) => { Object.assign(state, { level: Number(event.target.value), cell: null }); draw(); });
byId("other").addEventListener("change", (event) => { state.other = event.target.value === "" ? null : Number(event.target.value); draw(); });
for (const id of ["show-strange", "show-names"]) byId(id).addEventListener("change", drawPlane);
byId("class-search").addEventListener("input", drawClasses);
byId("class-order").addEventListener("change", drawClasses);
byId("threshold").addEventListener("input", drawBoxes);
theme();
draw();
drawBoxes();
