/* The glue of report.html: the map with its legend and side panel, the list of items, the theme. Text from data is only ever set as text. */
import { byId, make, number } from "./elements.js";
import { PointMap } from "./map.js";
import { SpaceMap } from "./space_map.js";
import { KIND_NAMES, SHAPE_NAMES, marker } from "./markers.js";
import { theme } from "./theme_button.js";

const ROUTES = ["auto", "uncertain", "outlier", "failed"];
const SERIES = 8;
const TRAINING = { label: "training", colour: "--training", shape: "circle", faint: true };
const SIMILAR = "The most similar single items over all layers; the nearest cluster below goes by its center in the deciding layer, and may be another class.";
const percent = (share) => (share > 0.9995 ? "over 99.9%" : `${+(100 * share).toFixed(share < 0.001 ? 2 : 1)}%`);  // as numbers.py has it

/** The drawn points: columns as typed arrays, strings by place. */
class Points {
  constructor() {
    const source = byId("points"), data = JSON.parse(source.textContent);
    const column = (packed, Kind) => new Kind(Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0)).buffer);
    Object.assign(this, data);
    this.calibrated = source.dataset.calibrated === "true";
    this.groups = JSON.parse(source.dataset.groups);
    this.count = this.id.length;
    if (data.xyz) this.xyz = column(data.xyz, Float32Array);
    for (const name of ["xy", "outlier_score", "confidence", "p_value", "trust", "score", "class_score", "source_score"]) this[name] = column(data[name], Float32Array);
    for (const name of ["label", "cluster", "route", "group", "nearest", "nearestEnd", "thumbnailEnd"]) this[name] = column(data[name], Int32Array);
  }

  isTraining(i) { return this.route[i] < 0; }
  labelOf(i) { return this.labels[this.label[i]]; }
  kindOf(i) { return this.isTraining(i) ? "training" : ROUTES[this.route[i]]; }
  nearestOf(i) { return this.nearest.subarray(i ? this.nearestEnd[i - 1] : 0, this.nearestEnd[i]); }

  /** A data URL of the thumbnail, or "". The browser reads the kind of picture from its first bytes. */
  thumbnail(i) {
    this.thumbnails ??= byId("thumbnails").textContent;
    const [from, to] = [i ? this.thumbnailEnd[i - 1] : 0, this.thumbnailEnd[i]];
    return to > from ? `data:image/png;base64,${this.thumbnails.slice(from, to)}` : "";
  }

  picture(i, alt) {
    const source = this.thumbnail(i);
    return source ? make("img", { src: source, alt }) : make("span", { class: "no-picture" }, "no picture");
  }
}

/** Pictures of few pixels keep them sharp when enlarged. */
function sharpen() {
  const mark = (image) => image.classList.toggle("tiny", image.naturalWidth < 100);
  document.addEventListener("load", (event) => event.target instanceof HTMLImageElement && mark(event.target), true);
  document.querySelectorAll("img").forEach(mark);
}

/** How each way of colouring codes the points: {codes, styles, entries}; a style's label and count make the legend. */
function colourings(points) {
  const each = (code) => Uint8Array.from({ length: points.count }, (_, i) => code(i));
  const series = (place) => ({ colour: `--series-${place % SERIES}`, shape: SHAPE_NAMES[Math.floor(place / SERIES) % SHAPE_NAMES.length] });
  const most = SERIES * SHAPE_NAMES.length;
  const rest = { colour: "--failed", shape: "circle" };
  const routeShapes = { auto: "circle", uncertain: "triangle", outlier: "diamond", failed: "square" };
  const edges = [0.5, 0.8, 0.95, 0.99];
  const ramp = (share) => () => ({
    codes: each((i) => (Number.isNaN(share(i)) ? 0 : 1 + edges.filter((edge) => share(i) >= edge).length)),
    styles: [
      { ...TRAINING, label: "no score (training)" },
      ...["below 0.5", "0.5 to 0.8", "0.8 to 0.95", "0.95 to 0.99", "0.99 and above"].map((label, k) => ({ label, colour: `--ramp-${k}`, shape: "circle" })),
    ],
  });

  return {
    route: () => ({
      codes: each((i) => points.route[i] + 1),
      styles: [TRAINING, ...ROUTES.map((route) => ({ label: KIND_NAMES[route], colour: `--${route}`, shape: routeShapes[route] }))],
    }),
    class: () => {
      const counts = points.labels.map(() => 0);
      points.label.forEach((label) => counts[label]++);
      const places = points.labels.map((_, label) => label).sort((a, b) => counts[b] - counts[a]);
      const styled = places.slice(0, most).sort((a, b) => a - b);
      const place = new Map(styled.map((label, k) => [label, k]));
      const styles = styled.map((label, k) => ({ label: points.labels[label] || "(no label)", ...series(k) }));
      if (places.length > most) styles.push({ label: "other classes", ...rest });
      const whole = styles.flatMap((style) => [{ ...style, faint: true }, style]);
      return { codes: each((i) => 2 * (place.get(points.label[i]) ?? styles.length - 1) + !points.isTraining(i)), styles: whole };
    },
    kind: () => ({ codes: each((i) => !points.isTraining(i)), styles: [TRAINING, { label: "incoming", colour: "--accent", shape: "circle" }] }),
    score: ramp((i) => points.outlier_score[i]),
    axis_class: ramp((i) => rank(points.class_score[i])),
    axis_source: ramp((i) => rank(points.source_score[i])),
    group: () => {
      const numbers = Object.keys(points.groups).map(Number).slice(0, most);
      const place = new Map(numbers.map((group, k) => [group, k + 2]));
      return {
        codes: each((i) => (points.isTraining(i) ? 0 : place.get(points.group[i]) ?? 1)),
        styles: [TRAINING, { ...rest, label: "incoming, in no group", faint: true }, ...numbers.map((group, k) => ({ label: `group ${group}`, ...series(k) }))],
      };
    },
  };
}

/** The share of held-out items that are less strange on an axis. */
const rank = (score) => 1 - Math.exp(-score);

/** The figures of an item, each with what it means. */
function figures(points, i) {
  const known = (name, words) => (Number.isNaN(points[name][i]) ? null : words(points[name][i]));
  const held = points.calibrated ? "held-out items" : "training items (uncalibrated: no guarantee)";
  const group = points.group[i];
  return [
    ["The model says", points.labelOf(i) || "nothing", known("confidence", (c) => `${percent(c)} sure`)],
    ["Outlier score", known("outlier_score", (s) => s.toFixed(4)), known("outlier_score", (s) => `stranger than ${percent(s)} of the ${held}`)],
    ["p-value", known("p_value", (p) => p.toFixed(4)), known("p_value", (p) => `about ${percent(p)} of ordinary items are as strange as this or stranger`)],
    ["Nearest cluster", points.clusters[points.cluster[i]] || "none", "the one whose center is nearest in the deciding layer"],
    ["Raw score", known("score", (s) => s.toFixed(3)), "larger is stranger; it orders the strange items"],
    ["Like no class", known("class_score", (s) => rank(s).toFixed(4)), known("class_score", (s) => `stranger than ${percent(rank(s))} of the ${held} in what it is`)],
    ["Unusual look", known("source_score", (s) => rank(s).toFixed(4)), known("source_score", (s) => `more than ${percent(rank(s))} of the ${held}`)],
    ["Trust", known("trust", (t) => t.toFixed(3)), "one number that sorts the queue: the smaller, the sooner a person sees it"],
    ["Group", group >= 0 ? String(group) : null, group >= 0 ? `${number.format(points.groups[group] ?? 0)} strange items look alike` : null],
  ].filter(([, value]) => value !== null);
}

function explore(points) {
  const host = byId("map-host"), panel = byId("panel"), tip = byId("map-tip"), status = byId("map-status"), colourBy = byId("colour-by");
  const boxes = [...document.querySelectorAll("[data-show]")];
  const rank = Uint8Array.from({ length: points.count }, (_, i) => points.route[i] + 1);
  const strangest = Array.from({ length: points.count }, (_, i) => i).filter((i) => !points.isTraining(i))
    .sort((a, b) => points.outlier_score[b] - points.outlier_score[a] || points.score[b] - points.score[a] || a - b);
  const ways = colourings(points);
  const empty = [...panel.childNodes];
  const inSpace = byId("map-3d"); // not there if no map in space was made
  let row = null, map = null, canvas = null;
  byId("map-app").hidden = false;

  /** Draw the map in the plane or in space, as the switch says; what is chosen stays so. */
  function lay() {
    const chosen = map?.selected ?? -1;
    map?.remove();
    map = inSpace?.checked ? new SpaceMap(host, points.xyz, rank, { hover, select, lasso }) : new PointMap(host, points.xy, rank, { hover, select, lasso });
    canvas = map.overlay;
    const name = inSpace?.checked ? "Map of the items in space" : "Map of the items";
    for (const [key, value] of Object.entries({ role: "application", "aria-label": name, "aria-describedby": "map-text map-help" })) canvas.setAttribute(key, value);
    document.querySelectorAll("[data-help]").forEach((part) => { part.hidden = part.dataset.help !== (inSpace?.checked ? "3" : "2"); });
    byId("map-lasso").setAttribute("aria-pressed", "false");
    hover(-1);
    map.controls(step, paint);
    paint();
    showChosen();
    if (chosen >= 0) map.select(chosen);
    globalThis.annotriageMap = map;
  }

  function paint() {
    const { codes, styles } = ways[colourBy.value]();
    map.paint(codes, styles);
    const counts = new Map();
    codes.forEach((code) => counts.set(styles[code].label, (counts.get(styles[code].label) ?? 0) + 1));
    const entries = [...new Map(styles.map((style) => [style.label, style]))].filter(([label]) => counts.get(label));
    byId("legend").replaceChildren(...entries.map(([label, style]) =>
      make("li", {}, marker(style, host), make("bdi", { class: "short" }, label), make("span", { class: "muted" }, number.format(counts.get(label))))));
  }

  function showChosen() {
    const shown = new Set(boxes.filter((box) => box.checked).map((box) => box.dataset.show));
    map.show(Uint8Array.from({ length: points.count }, (_, i) => shown.has(points.kindOf(i))));
  }

  function hover(i, x, y) {
    tip.hidden = i < 0;
    canvas.style.cursor = i < 0 ? (map.lassoing ? "crosshair" : "grab") : "pointer";
    if (i < 0) return;
    if (tip.dataset.point !== String(i)) {
      tip.dataset.point = i;
      tip.replaceChildren(
        points.picture(i, ""),
        make("div", {}, make("bdi", { class: "short strong" }, points.labelOf(i) || points.id[i]), make("span", { class: "muted" }, KIND_NAMES[points.kindOf(i)])),
      );
    }
    const right = x > map.width - 190, low = y > map.height - 130;
    tip.style.left = `${right ? x - tip.offsetWidth - 14 : x + 14}px`;
    tip.style.top = `${low ? y - tip.offsetHeight - 10 : y + 14}px`;
  }

  function select(i) {
    document.querySelector("tr.chosen")?.classList.remove("chosen");
    if (i < 0) { panel.replaceChildren(...empty); status.textContent = ""; return; }
    document.querySelector(`tr[data-point="${i}"]`)?.classList.add("chosen");
    panel.replaceChildren(...describe(i));
    panel.scrollTop = 0;
    status.textContent = `${KIND_NAMES[points.kindOf(i)]} item ${points.id[i].slice(0, 80)}, ${points.labelOf(i).slice(0, 80)}`;
  }

  function describe(i) {
    const training = points.isTraining(i);
    const nearest = [...points.nearestOf(i)];
    return [
      make("div", { class: "panel-top" },
        make("span", { class: `route route-${points.kindOf(i)}` }, training ? "training item" : KIND_NAMES[points.kindOf(i)]),
        make("span", { class: "buttons" },
          row && make("button", { type: "button", click: () => row.focus() }, "Back to the list"),
          make("button", { type: "button", click: () => step(-1), title: "Stranger item (P)" }, "Previous"),
          make("button", { type: "button", click: () => step(1), title: "Next in strangeness (N)" }, "Next"))),
      make("div", { class: "panel-picture" }, points.picture(i, `The item ${points.id[i].slice(0, 80)} itself`)),
      make("h3", { class: "long", id: "panel-id" }, make("bdi", {}, points.id[i])),
      points.path[i] && make("p", { class: "long muted" }, make("bdi", {}, points.path[i])),
      training
        ? make("p", {}, "One of the items that the model was trained on; people called it ", make("bdi", { class: "strong" }, points.labelOf(i) || "nothing"), ".")
        : make("p", { class: "long", id: "panel-reason" }, make("bdi", {}, points.reason[i])),
      nearest.length ? make("h4", {}, "Most similar training items") : null,
      nearest.length ? make("div", { class: "faces" }, ...nearest.map(face)) : null,
      nearest.length ? make("p", { class: "hint" }, SIMILAR) : null,
      !training && make("dl", { class: "figures" }, ...figures(points, i).flatMap(([name, value, meaning]) => [
        make("dt", {}, name), make("dd", {}, make("bdi", { class: "short strong" }, value), meaning && make("span", { class: "muted" }, ` ${meaning}`))])),
    ].filter(Boolean);
  }

  function face(i) {
    return make("button", { type: "button", class: "face", click: () => choose(i), title: points.id[i].slice(0, 200) },
      points.picture(i, ""), make("bdi", { class: "short" }, points.labelOf(i) || "no label"));
  }

  /** Select a point wherever it is asked for, and make sure that its kind is shown. */
  function choose(i) {
    const box = boxes.find((one) => one.dataset.show === points.kindOf(i));
    if (box && !box.checked) { box.checked = true; showChosen(); }
    map.select(i);
  }

  /** The next incoming point in order of strangeness, among those shown. */
  function step(by) {
    const there = strangest.filter((i) => map.shown[i]);
    if (!there.length) return;
    const at = there.indexOf(map.selected);
    map.select(there[at < 0 ? 0 : (at + by + there.length) % there.length]);
  }

  function lasso(indices) {
    if (!indices.length) { map.select(-1); return; }
    const chosen = new Set(indices), incoming = strangest.filter((i) => chosen.has(i));
    const inside = `${number.format(indices.length)} ${indices.length === 1 ? "item" : "items"} inside the lasso`;
    const tally = ["training", ...ROUTES].map((kind) => [kind, indices.filter((i) => points.kindOf(i) === kind).length]).filter(([, count]) => count);
    map.select(-1);
    panel.replaceChildren(
      make("h3", {}, inside),
      make("p", {}, tally.map(([kind, count]) => `${number.format(count)} ${KIND_NAMES[kind]}`).join(", ")),
      make("div", { class: "faces" }, ...(incoming.length ? incoming : indices).slice(0, 24).map(face)),
      make("label", { class: "ids" }, "Ids of the incoming ones, strangest first", make("textarea", { readonly: "", rows: "6" }, incoming.map((i) => points.id[i]).join("\n"))),
    );
    status.textContent = inside;
  }

  boxes.forEach((box) => box.addEventListener("change", showChosen));
  colourBy.addEventListener("change", paint);
  byId("first").addEventListener("click", () => step(1));
  byId("map-reset").addEventListener("click", () => {
    boxes.forEach((box) => { box.checked = true; });
    showChosen();
    map.select(-1);
    map.reset();
  });
  document.querySelectorAll("[name=dimensions]").forEach((radio) => radio.addEventListener("change", () => {
    lay();
    history.replaceState(null, "", inSpace.checked ? "#map-3d" : "#map");
  }));
  document.addEventListener("click", (event) => {
    const group = event.target.closest("[data-group]"), picked = event.target.closest("[data-point]");
    if (group) {
      colourBy.value = "group";
      paint();
      map.frame([...points.group.keys()].filter((i) => points.group[i] === Number(group.dataset.group)));
      byId("map").scrollIntoView();
    } else if (picked && picked.matches("tr") && !String(getSelection())) {
      row = picked.querySelector("button");
      choose(Number(picked.dataset.point));
      byId("map").scrollIntoView();
      canvas.focus({ preventScroll: true });
    }
  });
  if (inSpace && location.hash === "#map-3d") inSpace.checked = true;
  lay();
}

/** The list of items for people: a route, a few letters, and what is left. */
function filterList() {
  const rows = [...document.querySelectorAll("#waiting tbody tr")], route = byId("filter-route"), search = byId("filter-text");
  if (!rows.length) return;
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    let left = 0;
    rows.forEach((row, k) => {
      row.hidden = (route.value && row.dataset.route !== route.value) || !texts[k].includes(wanted);
      left += !row.hidden;
    });
    byId("filter-count").textContent = left === rows.length ? "" : `${number.format(left)} of ${number.format(rows.length)} listed`;
    byId("filter-none").hidden = left > 0;
  };
  byId("filters").hidden = false;
  route.addEventListener("change", filter);
  search.addEventListener("input", filter);
}

sharpen();
theme();
filterList();
if (byId("points")) explore(new Points());
