/* Walking through an atlas: the plane of cells, another layer's beside it, the classes, the panel with a cell's items, the boxes by class.
 * For atlas.html and for the dashboard alike; what differs comes as functions. Text from data is only ever set as text. */
import { byId, make, number } from "./elements.js";

const SERIES = 8, SMALLEST = 0.42, BOXES = 400, BEST = 12;

const colour = (kind) => `var(--series-${kind % SERIES})`;
const share = (value) => `${(100 * value).toFixed(value > 0.995 && value < 1 ? 1 : 0)}%`;

/**
 * Let people walk through an atlas. atlas: {classes, items: {predicted, sure, wrong}, usual: items that are not strange, layers: names,
 * strange: how many, bank: the sampler whose choice stands first, null where cells list what is nearest to their mean}. ways: layer(place) -> promise of a layer; face(item) -> figure; cellFace(layer, level, cell) and
 * madeFace(layer, level, cell) -> element or null; aboutStrange(place) -> elements; made(layer, side) -> how images were made, or null.
 */
export function walkAtlas(atlas, ways) {
  const { classes, items } = atlas;
  // layer, beside: places of the layers that are wanted; cell: the chosen one's place in the layer `at`
  const state = { layer: 0, beside: null, level: 1, cell: null, at: 0, strange: null, chosen: null, other: null, faces: "photo" };
  const planes = { layer: { plane: byId("plane"), legend: byId("legend"), shown: null, place: 0 }, beside: { plane: byId("plane-beside"), legend: byId("legend-beside"), shown: null, place: 0 } };

  const main = () => planes.layer.shown;
  const cells = (shown = main()) => shown.levels[state.level].cells;
  const name = (kind) => classes[kind].name;

  /** How much a cell speaks for a class; 0 where it is not among those that it says most about. */
  const evidence = (cell, kind) => cell.speaks.find(([named]) => named === kind)?.[1] ?? 0;

  /** Whether a cell speaks for a class, beside the cell that does so most. */
  const speaks = (cell, kind, most) => evidence(cell, kind) > Math.max(0.25 * most, 0);

  /** What a cell is to the chosen classes: "one", "other", "both" or "" (neither), all cells being "plain" where no class is chosen. */
  function role(cell, strongest) {
    if (state.chosen === null) return "plain";
    const [one, other] = [state.chosen, state.other].map((kind) => kind !== null && speaks(cell, kind, strongest.get(kind)));
    return one && other ? "both" : one ? "one" : other ? "other" : "";
  }

  /** By class that is chosen: how much the cell speaks for it that does so most. */
  const strongestOf = (shown = main()) => new Map([state.chosen, state.other].filter((kind) => kind !== null).map((kind) => [kind, Math.max(1e-9, ...cells(shown).map((cell) => evidence(cell, kind)))]));

  /** The picture of a cell: a real one, one that was made, or both side by side. */
  function cellPicture(layer, place, cell) {
    const photo = state.faces === "made" ? null : ways.cellFace(layer, state.level, place, cell);
    const made = state.faces === "photo" ? null : ways.madeFace(layer, state.level, place, cell);
    if (photo && made) return make("span", { class: "pair" }, photo, made);
    return made ?? photo ?? ways.cellFace(layer, state.level, place, cell) ?? make("span", { class: "cell-name" }, name(cell.top[0][0]).slice(0, 4));
  }

  function drawPlane({ plane, legend, shown, place: layer }) {
    const { side } = shown.levels[state.level];
    const most = Math.max(...cells(shown).map((cell) => cell.n));
    const strongest = strongestOf(shown);
    const borders = { both: "var(--series-2)", one: "var(--auto)", other: "var(--outlier)", "": "var(--line)" };
    const counts = { one: 0, other: 0, both: 0 };
    const buttons = cells(shown).map((cell, place) => {
      const is = role(cell, strongest), size = (100 / side) * (SMALLEST + (0.96 - SMALLEST) * Math.sqrt(cell.n / most));
      if (is in counts) counts[is] += 1;
      const [kind, sure] = cell.top[0];
      return make("button", {
        type: "button", class: is === "" ? "faded" : "", "aria-pressed": String(state.cell === place && state.at === layer),
        "aria-label": `Cell ${cell.x + 1}, ${cell.y + 1}: ${number.format(cell.n)} items, ${name(kind)} ${share(sure)}`,
        style: `left:${(100 * (cell.x + 0.5)) / side}%;top:${(100 * (cell.y + 0.5)) / side}%;width:${size}%;height:${size}%;border-color:${is === "plain" ? colour(kind) : borders[is]}`,
        click: () => { Object.assign(state, { cell: place, at: layer, strange: null }); draw(); },
      }, cellPicture(layer, place, cell));
    });
    if (byId("show-strange").checked) {
      shown.strange.forEach(([x, y], place) => {
        if (x === null) return;
        buttons.push(make("button", {
          type: "button", class: "strange", "aria-label": `Strange item ${ways.strangeName(place)}`, "aria-pressed": String(state.strange === place),
          style: `left:${100 * x}%;top:${100 * y}%`, click: () => { Object.assign(state, { strange: place, cell: null }); draw(); },
        }));
      });
    }
    if (byId("show-names").checked) {
      shown.places.forEach(([x, y], kind) => {
        if (x === null) return;
        const choose = () => { Object.assign(state, { chosen: state.chosen === kind ? null : kind, cell: null, strange: null }); draw(); };
        buttons.push(make("span", {
          class: "class-name", role: "button", tabindex: "0", "aria-pressed": String(state.chosen === kind), style: `left:${100 * x}%;top:${100 * y}%`,
          click: choose, keydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } },
        }, name(kind)));
      });
    }
    plane.replaceChildren(...buttons);
    legend.textContent = (state.beside === null ? "" : `${atlas.layers[layer]}: `) + words(shown, counts);
  }

  function words(shown, counts) {
    const all = number.format(cells(shown).length);
    const said = state.chosen === null ? `${all} cells hold items.`
      : state.other === null ? `${number.format(counts.one)} of ${all} cells speak for ${name(state.chosen)} (blue).`
        : `${number.format(counts.both)} cells speak for both (green), ${number.format(counts.one)} for ${name(state.chosen)} alone (blue), ${number.format(counts.other)} for ${name(state.other)} alone (orange).`;
    const unplaced = atlas.strange && byId("show-strange").checked && shown.strange.every(([x]) => x === null);
    return unplaced ? `${said} What this layer makes of strange items is not kept, so they are drawn in the deciding layer alone.` : said;
  }

  const alike = (kind) => (state.chosen === null ? 0 : main().similarity[state.chosen][kind] ?? -2);

  function drawClasses() {
    const wanted = byId("class-search").value.trim().toLowerCase(), order = byId("class-order").value, erring = byId("class-wrong").checked;
    const by = {
      items: (a, b) => classes[b].items - classes[a].items, name: (a, b) => name(a).localeCompare(name(b), "en", { numeric: true }),
      right: (a, b) => (classes[a].right ?? 2) - (classes[b].right ?? 2), alike: (a, b) => alike(b) - alike(a),
    };
    const listed = classes.map((_, kind) => kind).filter((kind) => name(kind).toLowerCase().includes(wanted) && (!erring || (classes[kind].right ?? 1) < 1)).sort(by[order]);
    byId("classes").replaceChildren(...listed.map((kind) => make("li", {}, make("button", {
      type: "button", "aria-pressed": String(state.chosen === kind),
      click: () => { Object.assign(state, { chosen: state.chosen === kind ? null : kind, cell: null, strange: null }); draw(); },
    },
    make("span", { class: "swatch", style: `background:${colour(kind)}` }), make("bdi", {}, name(kind)),
    make("span", { class: "muted" }, order === "alike" && state.chosen !== null ? alike(kind).toFixed(2) : order === "right" && classes[kind].right !== null ? share(classes[kind].right) : number.format(classes[kind].items))))));
    byId("no-class").hidden = listed.length > 0;
  }

  /** Rows of a class and a figure. */
  const rows = (pairs, figure) => make("table", { class: "plain" }, make("tbody", {}, ...pairs.map(([kind, value]) =>
    make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, name(kind))), make("td", { class: "figure" }, figure(value))))));

  /** The faces of some cells. */
  const faces = (some) => make("div", { class: "faces" }, ...some.map((cell) => ways.face(cell.items[0], state.layer)));

  const aboutCell = (cell) => {
    const made = ways.madeFace(state.at, state.level, state.cell, cell), along = ways.madeCosine(state.at, state.level, state.cell);
    return [make("h3", {}, `${number.format(cell.n)} ${cell.n === 1 ? "item" : "items"}${cell.wrong ? `, ${number.format(cell.wrong)} wrong` : ""}`),
      made && make("div", { class: "made" }, made, make("p", { class: "muted" }, `Made by the model: its activation points ${along.toFixed(2)} along the cell's (1 is the best).`)),
      make("h4", {}, "What its mean activation stands for"), rows(cell.top, share),
      make("h4", {}, "What it speaks for, beside the average item"), rows(cell.speaks.filter(([, value]) => value > 0).slice(0, 3), (value) => `+${value.toFixed(2)}`),
      make("h4", {}, cell.n > cell.items.length ? (atlas.bank === null ? `The ${cell.items.length} items nearest to its mean` : `${cell.items.length} of its items`) : "Its items"), make("div", { class: "faces" }, ...cell.items.map((item) => ways.face(item, state.at)))];
  };

  const aboutClass = (kind) => {
    const about = classes[kind];
    const near = main().similarity[kind].map((value, other) => [other, value]).filter(([other, value]) => other !== kind && value !== null).sort((a, b) => b[1] - a[1]);
    const ordered = [...cells()].sort((a, b) => evidence(b, kind) - evidence(a, kind)).slice(0, BEST);
    return [make("h3", {}, about.name),
      make("p", {}, `${number.format(about.items)} items are called so${about.right === null ? "" : `; of ${number.format(about.labelled)} that are, ${share(about.right)} are right`}.`),
      make("h4", {}, "Most alike to the model (cosine)"), rows(near.slice(0, 5), (value) => value.toFixed(2)),
      make("h4", {}, "Faces of the cells that speak most for it"), faces(ordered.filter((cell) => speaks(cell, kind, evidence(ordered[0], kind))))];
  };

  /** What two classes share, and what tells them apart. */
  const aboutTwo = (one, other) => {
    const strongest = strongestOf(), by = { both: [], one: [], other: [] };
    for (const cell of cells()) by[role(cell, strongest)]?.push(cell);
    const most = (some, weigh) => [...some].sort((a, b) => weigh(b) - weigh(a)).slice(0, BEST);
    const part = (title, some) => [make("h4", {}, title), some.length ? faces(some) : make("p", { class: "muted" }, "No cell does.")];
    return [make("h3", {}, make("bdi", {}, name(one)), " and ", make("bdi", {}, name(other))),
      make("p", {}, `How alike the model finds them: ${(main().similarity[one][other] ?? 0).toFixed(2)} (cosine).`),
      ...part("Speak for both", most(by.both, (cell) => Math.min(evidence(cell, one), evidence(cell, other)))),
      ...part(`Speak for ${name(one)} alone`, most(by.one, (cell) => evidence(cell, one) - evidence(cell, other))),
      ...part(`Speak for ${name(other)} alone`, most(by.other, (cell) => evidence(cell, other) - evidence(cell, one)))];
  };

  function drawPanel() {
    const about = state.strange !== null ? ways.aboutStrange(state.strange)
      : state.cell !== null ? aboutCell(cells(state.at === planes.layer.place ? main() : planes.beside.shown)[state.cell])
        : state.chosen !== null && state.other !== null && state.other !== state.chosen ? aboutTwo(state.chosen, state.other)
          : state.chosen !== null ? aboutClass(state.chosen)
            : [make("p", { class: "muted" }, "Choose a cell to see its items, or a class to see which cells speak for it.")];
    byId("cell-panel").replaceChildren(...about.filter((part) => part !== null));
  }

  function drawBoxes() {
    const limit = Number(byId("threshold").value) / 100;
    const order = [...atlas.usual].sort((a, b) => items.sure[b] - items.sure[a]);
    byId("boxes").replaceChildren(...classes.map((about, kind) => {
      const mine = order.filter((item) => items.predicted[item] === kind);
      const all = about.usual ?? mine.length, wrong = about.usual_wrong ?? mine.filter((item) => items.wrong[item]).length;
      const marked = all > 0 && wrong / all > limit;
      return make("div", {},
        make("span", { class: marked ? "warning" : "" }, make("bdi", {}, about.name), make("span", { class: "muted block" }, `${number.format(wrong)} of ${number.format(all)} wrong`)),
        make("div", { role: "img", "aria-label": `${number.format(all)} items called ${about.name}, ${number.format(wrong)} wrong` },
          ...mine.slice(0, BOXES).map((item) => make("i", { class: items.wrong[item] ? "wrong" : "", title: `${ways.itemName(item)}: ${share(items.sure[item])}`, style: `opacity:${0.15 + 0.85 * items.sure[item]}` })),
          all > BOXES ? make("span", { class: "muted" }, `and ${number.format(all - Math.min(mine.length, BOXES))} less sure ones`) : null));
    }));
  }

  function draw() {
    if (main() === null) return;
    const two = planes.beside.shown !== null;
    byId("planes").classList.toggle("two", two);
    planes.beside.plane.parentElement.hidden = !two;
    drawPlane(planes.layer);
    if (two) drawPlane(planes.beside);
    drawClasses();
    drawPanel();
  }

  /** Show another layer, or none, in one of the planes, once it is there and unless yet another one is wanted by then. */
  async function showLayer(place, which = "layer") {
    Object.assign(state, { [which]: place, cell: null });
    const found = place === null ? null : await ways.layer(place);
    if (state[which] !== place) return;
    Object.assign(planes[which], { shown: found, place });
    state.cell = null;
    if (byId("level").options.length === 0) {
      found.levels.forEach(({ side }, level) => byId("level").append(make("option", { value: level }, `${side} × ${side}`)));
      byId("level").value = String(state.level);
    }
    draw();
    if (which === "layer") byId("atlas").setAttribute("data-ready", String(place));
  }

  classes.forEach((_, kind) => byId("other").append(make("option", { value: kind }, name(kind))));
  atlas.layers.forEach((layer, place) => byId("beside").append(make("option", { value: place }, layer)));
  byId("layer").addEventListener("change", (event) => showLayer(event.target.selectedIndex));
  byId("beside").addEventListener("change", (event) => showLayer(event.target.value === "" ? null : Number(event.target.value), "beside"));
  byId("level").addEventListener("change", (event) => { Object.assign(state, { level: Number(event.target.value), cell: null }); draw(); });
  byId("other").addEventListener("change", (event) => { state.other = event.target.value === "" ? null : Number(event.target.value); draw(); });
  byId("faces").addEventListener("change", (event) => { state.faces = event.target.value; draw(); });
  for (const id of ["show-strange", "show-names"]) byId(id).addEventListener("change", draw);
  const sort = () => { if (main() !== null) drawClasses(); };
  byId("class-search").addEventListener("input", sort);
  for (const id of ["class-order", "class-wrong"]) byId(id).addEventListener("change", sort);
  byId("threshold").addEventListener("input", drawBoxes);
  drawBoxes();
  state.layer = byId("layer").selectedIndex;
  showLayer(state.layer);
  return { draw };
}
