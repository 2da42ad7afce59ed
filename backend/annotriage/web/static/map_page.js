/* The map's page: the map with its legend, side panel and list; faces instead of points; lassoed items sent to review or back; kept up
 * to date while items come in. Text from data is only ever set as text. */
import { byId, make, number } from "./shared/elements.js";
import { PointMap } from "./shared/map.js";
import { SpaceMap } from "./shared/space_map.js";
import { KIND_NAMES, marker } from "./shared/markers.js";
import { COLOURINGS } from "./colours.js";
import { cut } from "./cells.js";
import { send } from "./page.js";
import { Points } from "./points.js";

const EVERY = 3000, SELDOM = 60_000, FULL = 65535, LISTED = 100, SIDE = 14, FACES = 18, NEAR = 8;
const FILTERS = ["dataset", "label", "route", "group", "state", "score", "since"];
const LARGEST = 500_000, SHRUNK = 1024; // bytes of a picture that is sent, and the longer side of one that was larger, in pixels
const counted = (n, one, many = `${one}s`) => `${number.format(n)} ${n === 1 ? one : many}`;

const app = byId("map-app");
const choice = byId("map-choice");
const inSpace = choice.dataset.dimensions === "3";
for (const field of choice.elements) {
  field.addEventListener("change", () => {
    if (field.name !== "map" && choice.elements.map) choice.elements.map.value = "";
    for (const [name, value] of new URLSearchParams(location.search)) { // what is coloured and hidden stays so
      if (!choice.elements[name]) choice.append(make("input", { type: "hidden", name, value }));
    }
    choice.requestSubmit();
  });
}

/** How far a map is that is being made. */
function showMaking(making) {
  const box = byId("making");
  box.hidden = !making;
  if (!making) return;
  const failed = making.state === "failed";
  byId("making-text").textContent = failed
    ? `The last map could not be made: ${making.text}. It is tried again within the hour, or when more items have come in.`
    : `A new map is being made: ${making.text || "it begins"}.`;
  box.querySelector("progress").hidden = failed;
  box.querySelector("progress").value = making.progress;
}

async function ask(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

if (app) explore().catch((error) => { byId("map-loading").textContent = `The map could not be shown: ${error.message}. Load the page again.`; });
else if (byId("no-map")) waitForMap();

/** The map in space is made for who asks, and made anew where it is old. */
async function askForSpace(base) {
  const answer = await send(`${base}/ask`, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(String(answer.status));
}

let askedForSpace = false;

/** Before the first map: look until it is there. */
async function waitForMap() {
  const url = new URL(choice.action);
  try {
    if (inSpace && !askedForSpace) { await askForSpace(url.pathname); askedForSpace = true; }
    const state = await ask(`${url.pathname}/state?method=${byId("method").value}&dimensions=${inSpace ? 3 : 2}`);
    if (state.newest) { location.reload(); return; }
    showMaking(state.making);
  } catch { /* asked again */ }
  setTimeout(waitForMap, EVERY);
}

async function explore() {
  const host = byId("map-host"), panel = byId("panel-body"), tip = byId("map-tip"), status = byId("map-status"), loading = byId("map-loading");
  const list = byId("point-list"), cellsHost = byId("map-cells"), colourBy = byId("colour-by");
  const boxes = [...document.querySelectorAll("[data-show]")];
  const { base, items: itemsAt, training } = app.dataset;
  const welcome = [...panel.childNodes];
  app.hidden = false;

  const first = await ask(app.dataset.state + (app.dataset.fixed ? `&map=${app.dataset.fixed}` : ""));
  const dataset = new URLSearchParams(location.search).get("dataset") ?? "";
  if (inSpace) askForSpace(base).catch(() => { /* it stays as it is */ });
  const told = (done, total) => { loading.hidden = done >= total; loading.textContent = `Loading ${number.format(done)} of ${number.format(total)} points…`; };
  let points = pointsOf(Number(first.map)), narrowed = await askPassing(), taken = Date.now();
  await points.load(first.pieces, told, narrowed);
  loading.hidden = true;
  tellThinned();

  const map = new (inSpace ? SpaceMap : PointMap)(host, points.xy, points.route, { hover, select, lasso, view: later(looked) }, FULL, points.weight);
  const canvas = map.overlay;
  let asCells = false, lastList = "", strangest = order(), passing = null;
  for (const [name, value] of Object.entries({ role: "application", "aria-label": inSpace ? "Map of the items in space" : "Map of the items", "aria-describedby": "map-text map-help" })) {
    canvas.setAttribute(name, value);
  }

  // -- what is drawn

  function pointsOf(id) {
    const found = new Points(base, id, inSpace ? 3 : 2, dataset, Number(app.dataset.whole)), item = Number(new URLSearchParams(location.search).get("item"));
    if (item) found.pinned.add(item);
    return found;
  }

  function tellThinned() {
    byId("map-thinned").hidden = !points.thinned;
    if (points.thinned) byId("map-thinned").textContent = `There are too many points to hold each of them: of those of one route in one place the strangest is drawn for all${inSpace ? "" : ", until you zoom in"}.`;
  }

  function looked() {
    listInView();
    lookCloser();
  }

  let looking = false;

  /** A map that is thinned is drawn in finer cells where it is looked at closely. */
  async function lookCloser() {
    if (!points.thinned || inSpace || looking) return;
    looking = true;
    let gone = false;
    try {
      await exchange(async () => {
        const square = squareDue();
        if (!square) return false;
        loading.hidden = false;
        loading.textContent = "Looking closer…";
        const changed = await points.look(square);
        gone = map.marked?.some((one, i) => one && map.weight[i] > 1);
        return changed;
      });
      if (gone) map.select(-1); // what it was about is drawn by other points now
    } catch { /* what is there stays */ } finally {
      loading.hidden = true;
      looking = false;
    }
  }

  /** The square to be read for what is in view; null where it is drawn finely enough. */
  function squareDue() {
    const unit = FULL / map.scale, west = FULL / 2 - map.left * unit, south = FULL / 2 - (map.height - map.top) * unit;
    const [wide, high] = [map.width * unit, map.height * unit], size = Math.min(1.5 * Math.max(wide, high), FULL + 1), { looked: now } = points;
    const inside = (low, length, from) => Math.max(low, 0) >= from && Math.min(low + length, FULL) <= from + now.size;
    if (inside(west, wide, now.west) && inside(south, high, now.south) && (points.cell <= 2 * unit || size > now.size / 1.5)) return null;
    const begin = (low, length) => Math.min(Math.max(low + length / 2 - size / 2, 0), FULL + 1 - size);
    return { west: begin(west, wide), south: begin(south, high), size };
  }

  /** Incoming points, the strangest first. */
  function order() {
    const { count, route, score } = points, starts = new Uint32Array(257);
    for (let i = 0; i < count; i++) if (route[i]) starts[256 - score[i]]++;
    for (let k = 0; k < 256; k++) starts[k + 1] += starts[k];
    const found = new Uint32Array(starts[256]);
    for (let i = 0; i < count; i++) if (route[i]) found[starts[255 - score[i]]++] = i;
    return found;
  }

  function paint() {
    const { codes, styles } = COLOURINGS[colourBy.value](points);
    map.paint(codes, styles);
    showLegend();
  }

  /** What is shown, by colour. */
  function showLegend() {
    const { codes, styles, shown } = map, counts = new Uint32Array(256);
    for (let i = 0; i < codes.length; i++) if (shown[i]) counts[codes[i]] += points.standing(i);
    const entries = new Map();
    styles.forEach((style, code) => { if (counts[code]) entries.set(style.label, { style, n: (entries.get(style.label)?.n ?? 0) + counts[code] }); });
    byId("legend").replaceChildren(...[...entries].map(([label, { style, n }]) =>
      make("li", {}, marker(style, host), make("bdi", { class: "short", title: label }, label), make("span", { class: "muted" }, number.format(n)))));
  }

  function showChosen() {
    const shown = new Set(boxes.filter((box) => box.checked).map((box) => points.legend.routes.indexOf(box.dataset.show)));
    const mask = new Uint8Array(points.count), counts = new Uint32Array(points.legend.routes.length);
    for (let i = 0; i < points.count; i++) {
      const passes = !passing || passing[i];
      if (passes) counts[points.route[i]] += points.standing(i);
      mask[i] = passes && shown.has(points.route[i]);
    }
    map.show(mask);
    points.legend.routes.forEach((route, code) => {
      const box = document.querySelector(`[data-count="${route}"]`);
      if (box) box.textContent = number.format(counts[code]);
    });
    if (map.codes.length === points.count) showLegend();
    if (asCells) showCells();
  }

  // -- what is narrowed down: the sidebar says by what, the address has it, and the service tells which items pass

  function filters() {
    const asked = new URLSearchParams(location.search);
    return new URLSearchParams(FILTERS.filter((name) => asked.get(name)).map((name) => [name, asked.get(name)]));
  }

  /** The items that pass, ascending; null where nothing is asked for. */
  async function askPassing() {
    const wanted = filters();
    if (![...wanted].length) return null;
    const answer = await fetch(`${base}/chosen?${wanted}`);
    if (!answer.ok) throw new Error(`the filters could not be asked (${answer.status})`);
    return new Uint32Array(await answer.arrayBuffer()).subarray(1);
  }

  function narrow() {
    passing = narrowed && !points.thinned ? points.among(narrowed) : null; // what is thinned has what passes alone
    app.dataset.narrowed = String(filters());
  }

  /** Another choice in the sidebar: the points stay, and so does the view. */
  async function turnTo(address) {
    for (const name of ["colour", "hide", "item"]) {
      const kept = new URLSearchParams(location.search).get(name);
      if (kept) address.searchParams.set(name, kept); else address.searchParams.delete(name);
    }
    if (points.thinned) { location.assign(address); return; }
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("facets");
      if (!answer.ok || !fresh) throw new Error(String(answer.status));
      history.pushState(null, "", address);
      const folded = !document.querySelector("#facets > details").open;
      byId("facets").replaceChildren(...[...fresh.childNodes].filter((node) => node.nodeName !== "SCRIPT"));
      document.querySelector("#facets > details").open = !folded;
      narrowed = await askPassing();
      narrow();
    } catch { location.assign(address); return; }
    showChosen();
    if (map.marked || (map.selected >= 0 && !map.shown[map.selected])) map.select(-1);
    lookAtGroup();
    lastList = "";
    status.textContent = `${counted(map.shown.reduce((sum, one, i) => sum + (one && points.route[i] ? 1 : 0), 0), "item")} on the map`;
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("#facets .choices:not(#views) a[href], #all-of-it");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const address = new URL(link.href);
    if ((address.searchParams.get("dataset") ?? "") !== dataset) return; // its groups are other ones: the page is loaded again
    event.preventDefault();
    turnTo(address);
  });
  addEventListener("popstate", () => location.reload());
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "keep-view") return;
    const kept = new URLSearchParams(location.search);
    kept.delete("item");
    event.target.querySelector('input[name="query"]').value = kept;
  });

  function lookAtGroup() {
    const group = Number(new URLSearchParams(location.search).get("group"));
    if (!group) return;
    colourBy.value = "group";
    paint();
    map.frame([...points.group.keys()].filter((i) => points.group[i] === group));
  }

  // -- pointing at items

  function thumbnail(i, size, lazy = true) {
    const source = points.isTraining(i) ? `${training}${points.ids[i]}/thumbnail` : `${itemsAt}${points.ids[i]}/thumbnail`;
    return make("img", { class: "thumbnail tiny", alt: "", width: size, height: size, src: source, ...(lazy ? { loading: "lazy" } : {}) });
  }

  /** Its class; none of an item whose class is hidden. */
  const caption = (i) => points.labelOf(i) || (points.isTraining(i) ? "no label" : "");
  const called = (i) => caption(i) || "class hidden"; // in a list every line has a name

  function hover(i, x, y) {
    tip.hidden = i < 0;
    canvas.style.cursor = i < 0 ? (map.lassoing ? "crosshair" : "grab") : "pointer";
    if (i < 0) return;
    if (tip.dataset.point !== String(i)) {
      tip.dataset.point = i;
      const here = map.stackOf(i);
      tip.replaceChildren(thumbnail(i, 64, false), make("div", {},
        caption(i) ? make("bdi", { class: "short strong" }, caption(i)) : null,
        make("span", { class: "muted block" }, [KIND_NAMES[points.kindOf(i)], points.strangeness(i)].filter(Boolean).join(", ")),
        points.datasetOf(i) ? make("bdi", { class: "short muted" }, points.datasetOf(i)) : null,
        here > 1 ? make("span", { class: "block" }, `${number.format(here)} points in this place`) : null));
    }
    const right = x > map.width - 220, low = y > map.height - 130;
    tip.style.left = `${right ? x - tip.offsetWidth - 14 : x + 14}px`;
    tip.style.top = `${low ? y - tip.offsetHeight - 10 : y + 14}px`;
  }

  let asked = 0;
  async function select(i) {
    const mine = ++asked;
    for (const line of list.children) line.setAttribute("aria-selected", line.dataset.point === String(i));
    const chosen = list.querySelector('[aria-selected="true"]');
    if (chosen) { list.setAttribute("aria-activedescendant", chosen.id); chosen.scrollIntoView({ block: "nearest" }); }
    remember();
    if (i < 0) { panel.replaceChildren(...welcome); status.textContent = ""; return; }
    if (!points.isTraining(i)) points.pinned.add(points.ids[i]);
    const what = `${KIND_NAMES[points.kindOf(i)]}, ${points.labelOf(i).slice(0, 80)}`;
    const url = points.isTraining(i) ? `${base}/training/${points.legend.reference}/${points.ids[i]}` : `${base}/items/${points.ids[i]}`;
    try {
      const answer = await fetch(url, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (mine !== asked) return;
      panel.replaceChildren(...(answer.ok ? page.body.childNodes : [make("p", { class: "warning" }, page.querySelector("main")?.textContent.trim() || "It could not be shown.")]));
      byId("panel").scrollTop = 0;
      showNear(map.selected); // the same item, but other points may have come in its place
      status.textContent = `${what}, ${panel.querySelector("#panel-id")?.textContent.slice(0, 80) ?? ""}`;
    } catch {
      if (mine === asked) panel.replaceChildren(make("p", { class: "warning" }, "The service does not answer. Click again in a moment."));
    }
  }

  /** Faces of the items that lie nearest to it on the map. */
  function showNear(i) {
    const box = byId("panel-near");
    const near = box && i >= 0 ? map.around(i, NEAR, (other) => points.route[other] > 0) : [];
    if (!near.length) return;
    box.hidden = false;
    box.querySelector(".faces").replaceChildren(...near.map((other) =>
      make("button", { type: "button", class: "face", "data-point": other, "aria-label": `${KIND_NAMES[points.kindOf(other)]} item` }, thumbnail(other, 40))));
  }

  panel.addEventListener("click", (event) => {
    const alike = event.target.closest("[data-alike]");
    if (alike) { find(`${base}/items/${alike.dataset.alike}/alike`, null, `Most like task ${alike.dataset.name}`, alike); return; }
    const stepping = event.target.closest("[data-step]"), similar = event.target.closest("button[data-training]"), face = event.target.closest("[data-point]");
    if (stepping) step(Number(stepping.dataset.step));
    else if (similar) choose(points.findTraining(Number(similar.dataset.training)));
    else if (face) choose(Number(face.dataset.point));
  });

  /** Select a point wherever it is asked for, and make sure that its kind is shown. */
  function choose(i) {
    if (i < 0) return;
    const box = boxes.find((one) => one.dataset.show === points.kindOf(i));
    if (passing) passing[i] = 1;
    if (box) box.checked = true;
    if (!map.shown[i]) showChosen();
    map.select(i);
  }

  /** The next incoming point in order of strangeness, among those shown. */
  function step(by) {
    const n = strangest.length;
    let at = strangest.indexOf(map.selected);
    if (at < 0 && by < 0) at = 0;
    for (let tried = 0; tried < n; tried++) {
      at = (at + by + n) % n;
      if (map.shown[strangest[at]]) { map.select(strangest[at]); return; }
    }
  }

  // -- the list beside the map

  function listInView() {
    if (asCells || map.marked) return;
    const inside = new Uint8Array(points.count), found = [];
    let n = 0;
    map.eachInView((i) => { if (points.route[i]) { inside[i] = 1; n += points.standing(i); } });
    for (let k = 0; k < strangest.length && found.length < LISTED; k++) if (inside[strangest[k]]) found.push(strangest[k]);
    byId("list-title").textContent = n > LISTED ? `In view: the ${LISTED} strangest of ${number.format(n)}` : `In view, strangest first: ${counted(n, "item")}`;
    fill(found);
  }

  function fill(found) {
    const key = found.join(",") + colourBy.value + points.route.length + found.map((i) => points.route[i]).join("");
    if (key === lastList) return;
    lastList = key;
    list.replaceChildren(...found.map((i, k) => make("li", { role: "option", id: `point-${k}`, "data-point": i, "aria-selected": i === map.selected },
      thumbnail(i, 34), make("span", {}, make("bdi", { class: "short strong" }, called(i)), make("span", { class: "muted block" }, points.strangeness(i))),
      make("span", { class: `route route-${points.kindOf(i)}` }, KIND_NAMES[points.kindOf(i)]))));
  }

  list.addEventListener("click", (event) => { const line = event.target.closest("li"); if (line) choose(Number(line.dataset.point)); });
  list.addEventListener("keydown", (event) => {
    const lines = [...list.children], at = lines.findIndex((line) => line.getAttribute("aria-selected") === "true");
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: lines.length - 1 }[event.key];
    if (next === undefined || !lines.length) return;
    event.preventDefault();
    choose(Number(lines[Math.max(0, Math.min(lines.length - 1, next))].dataset.point));
  });

  // -- likeness

  /** Ask for what is alike, and show it: as faces, and on the map, where all else is dimmed. */
  async function find(url, body, title, control) {
    const mine = ++asked;
    control.disabled = true;
    const waiting = make("p", { class: "muted", role: "status" }, "Looking for what is alike …");
    panel.prepend(waiting);
    try {
      const answer = await send(url, { body, headers: { Accept: "application/json", "Content-Type": "application/octet-stream" } });
      const found = await answer.json();
      if (!answer.ok) throw new Error(found.detail ?? String(answer.status));
      if (mine === asked) showFound(found.items, title);
    } catch (error) {
      if (mine === asked) panel.prepend(make("p", { class: "warning", role: "alert" }, `Nothing was found: ${error.message}`));
    } finally {
      waiting.remove();
      control.disabled = false;
    }
  }

  function showFound(items, title) {
    const drawn = items.map((item) => points.find(item.id)).filter((i) => i >= 0);
    map.select(-1, false);
    remember();
    drawn.forEach((i) => { map.shown[i] = 1; });
    if (drawn.length) { map.mark(drawn); map.frame(drawn); }
    panel.replaceChildren(
      make("h3", { id: "found-title", tabindex: "-1" }, title),
      make("p", { class: "muted" }, items.length ? `${counted(items.length, "item")}, the most similar first. What is not among them is dimmed on the map.` : "No judged item is there to be found."),
      make("div", { class: "faces", id: "found" }, ...items.map((item) => {
        const i = points.find(item.id), picture = make("img", { class: "thumbnail tiny", alt: `Task ${item.name.slice(0, 80)}`, width: 56, height: 56, src: `${itemsAt}${item.id}/thumbnail` });
        const kind = make("span", { class: `route route-${item.route}` }, KIND_NAMES[item.route] ?? "");
        return i >= 0 ? make("button", { type: "button", class: "face", "data-point": i }, picture, kind)
          : make("a", { class: "face", href: `${app.dataset.pages}${encodeURIComponent(item.name)}` }, picture, kind);
      })));
    byId("list-title").textContent = "Found, most similar first";
    fill(drawn);
    byId("panel").scrollTop = 0;
    byId("found-title").focus();
    status.textContent = title;
  }

  byId("picture")?.addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    try {
      await find(`${base}/alike`, await small(file), `Most like ${file.name.slice(0, 60)}`, event.target);
    } catch {
      panel.prepend(make("p", { class: "warning", role: "alert" }, `${file.name.slice(0, 60)} is larger than ${number.format(LARGEST / 1000)} kB, and your browser cannot make it smaller.`));
    }
    event.target.value = "";
  });

  /** The picture as it is, or smaller where it would be too much to send. */
  async function small(file) {
    if (file.size <= LARGEST) return file;
    const picture = await createImageBitmap(file), scale = Math.min(1, SHRUNK / Math.max(picture.width, picture.height));
    const canvas = new OffscreenCanvas(Math.max(1, Math.round(picture.width * scale)), Math.max(1, Math.round(picture.height * scale)));
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    return canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
  }

  // -- many items at once

  const standing = (indices) => indices.reduce((sum, i) => sum + points.standing(i), 0);

  function lasso(indices) {
    map.selected = -1;
    selection(indices, `${counted(standing(indices), "item")} inside the lasso`);
  }

  function selection(indices, title) {
    asked++;
    if (!indices.length) { panel.replaceChildren(...welcome); status.textContent = ""; return; }
    const incoming = indices.filter((i) => points.route[i]).sort((a, b) => points.score[b] - points.score[a] || a - b);
    const tally = points.legend.routes.map((route, code) => [route, standing(indices.filter((i) => points.route[i] === code))]).filter(([, n]) => n);
    const each = standing(incoming) === incoming.length; // what one point stands for cannot be sent anywhere with it
    const auto = incoming.reduce((sum, i) => sum + (points.kindOf(i) === "auto"), 0), others = incoming.length - auto;
    const enough = Number(app.dataset.enough); // 0: no number of them is
    const ids = Uint32Array.from(incoming, (i) => points.ids[i]); // as they are now: other points may come in their places
    const toReview = make("button", { type: "button", class: "primary", click: () => reroute("review", ids) }, `Send ${counted(auto, "automatic item")} to review`);
    const back = make("button", { type: "button", click: () => reroute("back", ids) }, `Take ${counted(others, "item")} out of review`);
    if (incoming.length && each) foresee(ids, toReview, back);
    byId("list-title").textContent = incoming.length > LISTED ? `Selected: the ${LISTED} strangest of ${number.format(incoming.length)}` : `Selected, strangest first: ${counted(incoming.length, "item")}`;
    fill(incoming.slice(0, LISTED));
    panel.replaceChildren(
      make("h3", {}, title),
      make("p", {}, tally.map(([route, n]) => `${number.format(n)} ${KIND_NAMES[route]}`).join(", ")),
      each ? null : make("p", { class: "callout" }, "Some of these points stand for several items. Zoom in until each is drawn by itself, then they can be sent to review or taken out of it."),
      make("div", { class: "selection-actions", ...(each ? {} : { hidden: "" }) },
        auto ? toReview : null, others ? back : null,
        enough && others >= enough ? make("button", { type: "button", click: () => propose(ids) }, "Label look-alikes at once…") : null),
      make("p", { class: "hint" }, "People look at what is sent to review. What is taken out of it needs nobody any more; only what the model itself judged automatic becomes automatic again. Spot checks stay. Each can be undone."),
      make("div", { class: "faces" }, ...(incoming.length ? incoming : indices).slice(0, FACES).map((i) =>
        make("button", { type: "button", class: "face", "data-point": i, title: points.strangeness(i) }, thumbnail(i, 40), make("bdi", { class: "short" }, called(i))))));
    byId("panel").scrollTop = 0;
    status.textContent = title;
  }

  /** Say on the buttons what would really change: some of the items may be answered, or spot checks, by now. */
  async function foresee(body, toReview, back) {
    try {
      const answer = await send(`${base}/foresee`, { body, headers: { Accept: "application/json", "Content-Type": "application/octet-stream" } });
      if (!answer.ok) return;
      const found = await answer.json();
      toReview.textContent = `Send ${counted(found.review, "automatic item")} to review`;
      back.textContent = `Take ${counted(found.back, "item")} out of review`;
      toReview.hidden = !found.review;
      back.hidden = !found.back;
    } catch { /* the buttons say what the map knows */ }
  }

  /** Offer the selection as a group of which people answer some: its page says how many. */
  async function propose(body) {
    try {
      const answer = await send(app.dataset.propose, { body, headers: { Accept: "application/json", "Content-Type": "application/octet-stream" } });
      const done = await answer.json();
      if (!answer.ok) throw new Error(done.detail);
      location.assign(done.address);
    } catch (error) {
      panel.prepend(make("p", { class: "warning", role: "alert" }, error.message || "The service does not answer; nothing was changed."));
    }
  }

  async function reroute(to, ids) {
    panel.querySelectorAll(".selection-actions button").forEach((button) => { button.disabled = true; });
    await act(`${base}/reroute?to=${to}`, ids);
  }

  async function act(url, body) {
    let done;
    try {
      const answer = await send(url, { body, headers: { Accept: "application/json", "Content-Type": "application/octet-stream" } });
      done = await answer.json();
      if (!answer.ok) throw new Error(done.detail);
    } catch (error) {
      panel.prepend(make("p", { class: "warning", role: "alert" }, error.message || "The service does not answer; nothing was changed."));
      panel.querySelectorAll(".selection-actions button, #undo").forEach((button) => { button.disabled = false; });
      return;
    }
    const undo = (event) => { event.currentTarget.disabled = true; act(`${base}/reroute/${done.id}/undo`); };
    points.reroute(done.changed, done.routes);
    paint();
    showChosen();
    lastList = "";
    panel.replaceChildren(make("div", { class: "outcome" },
      make("h3", {}, done.sentence),
      done.left.length ? make("p", {}, "Left as they are:") : null,
      done.left.length ? make("ul", {}, ...done.left.map((line) => make("li", {}, line))) : null,
      make("p", { class: "buttons" },
        done.id ? make("button", { type: "button", id: "undo", click: undo }, "Undo") : null,
        make("a", { class: "button", href: done.queue }, "To the queue"))));
    status.textContent = done.sentence;
    panel.querySelector("button, a")?.focus();
  }

  // -- faces instead of points

  function showCells() {
    const cells = cut(points, map, SIDE);
    const [west, east] = [Math.min(...cells.map((cell) => cell.column)), Math.max(...cells.map((cell) => cell.column))];
    const north = Math.min(...cells.map((cell) => cell.row));
    const grid = make("div", { class: "cells", style: `grid-template-columns: repeat(${cells.length ? east - west + 1 : 1}, minmax(0, 1fr))` });
    for (const cell of cells) {
      const classes = cell.leading.map(([label, n]) => `${label} (${number.format(n)})`).join(", ");
      const button = make("button", { type: "button", class: "cell", style: `grid-column: ${cell.column - west + 1}; grid-row: ${cell.row - north + 1}`,
        title: classes, "aria-label": `${counted(cell.count, "item")}: ${classes}`, "data-medoid": cell.medoid },
        thumbnail(cell.medoid, 64), make("bdi", { class: "cell-class" }, cell.leading[0][0]), make("span", { class: "cell-count" }, number.format(cell.count)));
      button.addEventListener("click", () => {
        grid.querySelector(".chosen")?.classList.remove("chosen");
        button.classList.add("chosen");
        selection(cell.points, `${counted(cell.count, "item")} in this cell: ${classes}`);
        const shown = cell.points.filter((i) => points.route[i]).sort((a, b) => points.score[b] - points.score[a] || a - b);
        byId("list-title").textContent = `In this cell, strangest first`;
        fill(shown.slice(0, LISTED));
      });
      grid.append(button);
    }
    cellsHost.replaceChildren(grid);
  }

  function view(cells) {
    asCells = cells;
    host.hidden = cells;
    cellsHost.hidden = !cells;
    byId("map-buttons").hidden = cells;
    byId("as-points").setAttribute("aria-pressed", !cells);
    byId("as-cells").setAttribute("aria-pressed", cells);
    tip.hidden = true;
    lastList = "";
    if (cells) showCells(); else listInView();
  }

  // -- a picture to take away

  async function savePicture() {
    const css = getComputedStyle(host), ratio = map.ratio, line = 22 * ratio, pad = 14 * ratio;
    const entries = [...byId("legend").children];
    const canvasOut = document.createElement("canvas"), context = canvasOut.getContext("2d");
    const font = `${13 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    canvasOut.width = map.base.width;
    context.font = font;
    let [x, rows] = [pad, 1];
    const places = entries.map((entry) => {
      const text = [...entry.querySelectorAll("bdi, span")].map((part) => part.textContent).join("  ").slice(0, 60), width = 24 * ratio + context.measureText(text).width + pad;
      if (x + width > canvasOut.width) { x = pad; rows++; }
      const place = { text, x, row: rows - 1, picture: entry.querySelector("canvas") };
      x += width;
      return place;
    });
    canvasOut.height = map.base.height + 2 * line + rows * line + pad;
    context.fillStyle = css.getPropertyValue("--paper");
    context.fillRect(0, 0, canvasOut.width, canvasOut.height);
    context.fillStyle = css.getPropertyValue("--ink");
    context.textBaseline = "middle";
    context.font = `600 ${15 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    context.fillText(`${app.dataset.title.slice(0, 80)} · ${byId("method").selectedOptions[0].text}${inSpace ? " in space" : ""}, coloured by ${colourBy.selectedOptions[0].text}`, pad, line);
    context.drawImage(map.base, 0, 1.8 * line);
    context.font = font;
    for (const { text, x: left, row, picture } of places) {
      const top = map.base.height + 2.4 * line + row * line;
      if (picture) context.drawImage(picture, left, top - 7 * ratio, 14 * ratio, 14 * ratio);
      context.fillText(text, left + 20 * ratio, top);
    }
    const blob = await new Promise((done) => { canvasOut.toBlob(done, "image/png"); });
    const url = URL.createObjectURL(blob);
    make("a", { href: url, download: `map-${points.id}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  // -- while items come in

  async function follow() {
    try {
      if (!document.hidden) {
        const state = await ask(app.dataset.state + (app.dataset.fixed ? `&map=${app.dataset.fixed}` : ""));
        showMaking(state.making);
        await exchange(() => take(state));
      }
    } catch { /* asked again */ }
    setTimeout(follow, EVERY);
  }

  /** Load what the service has by now; whether it is other than what is drawn. */
  async function take({ map: id, pieces }) {
    const next = id === points.id ? points : pointsOf(id);
    // A thinned map is read again from its beginning: not every time that something comes in.
    if (next === points && (points.holds(pieces) || (points.thinned && Date.now() < taken + SELDOM))) return false;
    const items = await askPassing();
    [next.looked, next.pinned] = [points.looked, points.pinned];
    if (!(await next.load(pieces, undefined, items))) return false;
    [points, narrowed, taken] = [next, items, Date.now()];
    tellThinned();
    return true;
  }

  let turn = Promise.resolve();

  /** Load points, and draw them in place of those that are there: the view stays, and so does what is chosen, be it chosen while they load.
   *  Each load waits for the one before: two at once would draw the pieces of one as the other looked at them. */
  function exchange(load) {
    const mine = turn.then(async () => {
      const { ids, route } = points;
      if (!(await load())) return;
      const moved = (i) => (i < 0 ? -1 : route[i] ? points.find(ids[i]) : points.findTraining(ids[i]));
      const { selected, outline } = map, marked = map.marked && [];
      map.marked?.forEach((one, i) => { if (one && moved(i) >= 0) marked.push(moved(i)); });
      narrow();
      strangest = order();
      map.replace(points.xy, points.route, points.weight);
      paint();
      showChosen();
      lastList = "";
      map.selected = moved(selected);
      if (marked) map.mark(marked, outline);
      for (const one of byId("panel").querySelectorAll("[data-point]")) one.dataset.point = moved(Number(one.dataset.point));
      delete tip.dataset.point;
    });
    turn = mine.catch(() => { /* told to whoever asked for it */ });
    return mine;
  }

  // -- the state in the address, so that it can be shared and comes back

  function remember() {
    const address = new URL(location.href), hidden = boxes.filter((box) => !box.checked).map((box) => box.dataset.show);
    const state = {
      colour: colourBy.value === "route" ? "" : colourBy.value, hide: hidden.join(" "),
      item: map.selected >= 0 && !points.isTraining(map.selected) ? points.ids[map.selected] : "",
    };
    for (const [name, value] of Object.entries(state)) {
      if (value) address.searchParams.set(name, value); else address.searchParams.delete(name);
    }
    history.replaceState(null, "", address);
  }

  function recall(wanted) {
    if (COLOURINGS[wanted.get("colour")]) colourBy.value = wanted.get("colour");
    const hidden = (wanted.get("hide") ?? "").split(" ");
    boxes.forEach((box) => { box.checked = !hidden.includes(box.dataset.show); });
  }

  // -- wiring

  boxes.forEach((box) => box.addEventListener("change", () => { showChosen(); remember(); }));
  colourBy.addEventListener("change", () => { paint(); lastList = ""; remember(); });
  byId("as-points").addEventListener("click", () => view(false));
  byId("as-cells").addEventListener("click", () => view(true));
  byId("map-png").addEventListener("click", savePicture);
  byId("map-reset").addEventListener("click", () => {
    boxes.forEach((box) => { box.checked = true; });
    showChosen();
    map.select(-1);
    map.reset();
    remember();
  });
  map.controls(step, paint);

  const wanted = new URLSearchParams(location.search);
  recall(wanted);
  narrow();
  paint();
  showChosen();
  lookAtGroup();
  if (wanted.get("item")) choose(points.find(Number(wanted.get("item"))));
  globalThis.annotriageMap = map;
  globalThis.annotriagePoints = () => points;
  requestAnimationFrame(() => requestAnimationFrame(() => { app.dataset.ready = Math.round(performance.now()); }));
  setTimeout(follow, EVERY);
}

/** The same function, called once things have been still for a moment. */
function later(act, wait = 120) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(act, wait); };
}
