/* A map of points on a canvas: pan, zoom, hover, click, lasso. Shared by report.html and the dashboard; needs nothing else.
 *
 * It knows places, codes and styles, and nothing of routes or classes: `paint(codes, styles)` says how each point looks and `show(mask)`
 * which are there. Points are stamped into a pixel buffer (20,000 in a few milliseconds, without a GPU); rings and the lasso live on a
 * second canvas above, so that hovering never draws the points again. A grid index answers "what is here?".
 * With more than DENSE points in view the many are drawn as a density, and only those of a high rank as points above it: a million
 * stays fluid, and every one of them can still be pointed at.
 */
import { Grid } from "./grid.js";
import { makeStamps } from "./markers.js";

const DENSE = 100_000; // points in view
const ABOVE = 3; // the rank from which on points stay points
const CELL = 2; // CSS pixels of a cell of the density, and of what counts as one place
const SEVERAL = 6; // points in one place from which on they look like so many
const WIDEST = 7; // how many times wider than a marker they may look

export class PointMap {
  /** host: an element with a size. xy: Float32Array, x and y of each point in turn. rank: Uint8Array, higher ones lie above.
   *  on.hover(index or -1, x, y), on.select(index or -1), on.lasso(indices), on.view() after the view has moved.
 *  A lasso keeps its outline, and dims what lies outside, until something is selected or Escape is pressed.
   *  side: of the square from 0 that the map always fills, so that it stays where it is when points come in; else the points' own.
   *  weight: Uint32Array, how many a point stands for; null: each for itself. */
  constructor(host, xy, rank, on, side = null, weight = null) {
    this.host = host;
    this.on = on;
    this.side = side;
    this.lassoing = false;
    this.gone = new AbortController();
    this.styles = [{ colour: "--ink", shape: "circle" }];
    this.#take(xy, rank, weight);
    this.base = host.appendChild(document.createElement("canvas"));
    this.overlay = host.appendChild(document.createElement("canvas"));
    this.context = this.base.getContext("2d", { alpha: false });
    this.#listen();
    this.watching = new ResizeObserver(() => this.#resize());
    this.watching.observe(host);
    this.#resize();
  }

  /** Take it off the page; its `controls` go with it. */
  remove() {
    this.watching.disconnect();
    this.gone.abort();
    this.base.remove();
    this.overlay.remove();
  }

  /** What stands around it on every page: zoom, lasso, the next point and the one before by key, and the theme. */
  controls(step, paint) {
    const { signal } = this.gone;
    const on = (id, kind, act) => document.getElementById(id).addEventListener(kind, act, { signal });
    on("map-in", "click", () => this.zoom(1.5));
    on("map-out", "click", () => this.zoom(1 / 1.5));
    on("map-lasso", "click", (event) => {
      this.lassoing = !this.lassoing;
      event.currentTarget.setAttribute("aria-pressed", this.lassoing);
    });
    on("map", "keydown", (event) => {
      if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
      const by = { n: 1, p: -1 }[event.key.toLowerCase()];
      if (by) { event.preventDefault(); step(by); }
    });
    addEventListener("themechange", () => { this.restyle(); paint(); }, { signal });
  }

  /** Other points in place of these; the view stays, nothing is selected. Paint and show them next. */
  replace(xy, rank, weight = null) {
    this.#take(xy, rank, weight);
    this.redraw();
  }

  /** Call `found(i)` for every shown point in view. */
  eachInView(found) {
    this.visit(0, 0, this.width, this.height, (i) => {
      const x = this.x[i] * this.scale + this.left, y = this.y[i] * this.scale + this.top;
      if (x >= 0 && y >= 0 && x <= this.width && y <= this.height) found(i);
    });
  }

  /** How each point looks: codes[i] is a place in `styles`, each {colour: "--css-variable", shape, faint}. */
  paint(codes, styles) {
    this.codes = codes;
    this.styles = styles;
    this.restyle();
  }

  /** Which points are there: a Uint8Array of 0 and 1. */
  show(mask) {
    this.shown = mask;
    this.redraw();
  }

  /** Take the colours from the page's CSS again, after the theme has changed. */
  restyle() {
    this.stamps = null;
    this.redraw();
  }

  select(index, tell = true) {
    this.selected = index;
    if (index < 0) this.mark(null);
    if (index >= 0) this.#bringIntoView(index);
    this.redraw();
    if (tell) this.on.select(index);
  }

  /** Only these points stand out; null: all of them again. outline: the closed line around them, in places of points. */
  mark(indices, outline = null) {
    this.marked = indices && new Uint8Array(this.count);
    indices?.forEach((i) => { this.marked[i] = 1; });
    this.outline = outline;
    this.redraw();
  }

  /** Everything in view again. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.host;
    this.scale = this.fitted = Math.min((width - 48) / this.spanX, (height - 48) / this.spanY);
    this.left = width / 2;
    this.top = height / 2;
    this.redraw();
  }

  /** As it was at first. */
  reset() { this.fit(); }

  /** Bring these points into view, with room around them. */
  frame(indices) {
    if (!indices.length) return;
    let [west, east, north, south] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const i of indices) {
      west = Math.min(west, this.x[i]); east = Math.max(east, this.x[i]);
      north = Math.min(north, this.y[i]); south = Math.max(south, this.y[i]);
    }
    const { clientWidth: width, clientHeight: height } = this.host;
    const most = Math.min(width / (east - west || 1e-9), height / (south - north || 1e-9)) * 0.6;
    this.scale = Math.min(most, this.fitted * 8);
    this.left = width / 2 - ((west + east) / 2) * this.scale;
    this.top = height / 2 - ((north + south) / 2) * this.scale;
    this.redraw();
  }

  zoom(factor, x = this.host.clientWidth / 2, y = this.host.clientHeight / 2) {
    const scale = Math.min(Math.max(this.scale * factor, this.fitted * 0.5), this.fitted * 200);
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.redraw();
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.redraw();
  }

  /** What dragging does. */
  drag(dx, dy) { this.pan(dx, dy); }

  /** What an arrow key does: the map moves by so much. */
  arrow(dx, dy) { this.pan(dx, dy); }

  /** Where a point is drawn, in CSS pixels from the host's corner. */
  position(i) {
    return [this.x[i] * this.scale + this.left, this.y[i] * this.scale + this.top];
  }

  /** The shown point nearest to (x, y) within `reach` CSS pixels, else -1. */
  nearest(x, y, reach = 10) {
    let best = -1, least = reach * reach;
    this.visit(x - reach, y - reach, x + reach, y + reach, (i) => {
      const [px, py] = this.position(i);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least || (distance === least && i === this.selected)) { best = i; least = distance; }
    });
    return best;
  }

  /** How many shown points lie in the place of this one, as the map stands now. */
  stackOf(i) {
    const [x, y] = this.position(i), reach = CELL / 2;
    let found = 0;
    this.visit(x - reach, y - reach, x + reach, y + reach, (other) => {
      const [px, py] = this.position(other);
      if (Math.abs(px - x) <= reach && Math.abs(py - y) <= reach) found += this.weight?.[other] ?? 1;
    });
    return found;
  }

  /** The shown points that lie nearest to one of them, itself left out, the nearest first; of those that are `wanted`. */
  around(i, count, wanted = () => true) {
    this.grid ??= new Grid(this.x, this.y);
    for (let reach = 0.004; ; reach *= 3) {
      const found = [];
      this.grid.visit(this.x[i] - reach, this.y[i] - reach, this.x[i] + reach, this.y[i] + reach, (other) => {
        const away = Math.hypot(this.x[other] - this.x[i], this.y[other] - this.y[i]);
        if (other !== i && this.shown[other] && away <= reach && wanted(other)) found.push([away, other]);
      });
      if (found.length >= count || reach > 2) return found.sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, count).map(([, other]) => other);
    }
  }

  #take(xy, rank, weight) {
    this.count = xy.length / this.values;
    this.weight = weight;
    this.standing = weight ? weight.reduce((sum, one) => sum + one, 0) : this.count; // for how many points these stand
    this.selected = -1;
    this.hovered = -1;
    this.marked = this.outline = null;
    this.shown = new Uint8Array(this.count).fill(1);
    this.codes = new Uint8Array(this.count);
    this.rank = rank;
    this.place(xy);
    this.sort();
  }

  /** In which order they are drawn: the last lie above. */
  sort() {
    const { rank } = this, starts = new Uint32Array(257);
    for (let i = 0; i < this.count; i++) starts[rank[i] + 1]++;
    for (let r = 0; r < 256; r++) starts[r + 1] += starts[r];
    this.order = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i++) this.order[starts[rank[i]]++] = i;
  }

  /** How many values a place has in what is given. */
  get values() { return 2; }

  /** Places around 0, the larger side 1, y upwards; points without a place are never shown. */
  place(xy) {
    this.x = new Float32Array(this.count);
    this.y = new Float32Array(this.count);
    let [west, east, south, north] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < this.count; i++) {
      const [x, y] = [xy[2 * i], xy[2 * i + 1]];
      if (!Number.isFinite(x + y)) continue;
      west = Math.min(west, x); east = Math.max(east, x); south = Math.min(south, y); north = Math.max(north, y);
    }
    if (this.side) [west, east, south, north] = [0, this.side, 0, this.side];
    const span = Math.max(east - west, north - south) || 1;
    for (let i = 0; i < this.count; i++) {
      this.x[i] = (xy[2 * i] - (west + east) / 2) / span;
      this.y[i] = ((south + north) / 2 - xy[2 * i + 1]) / span;
    }
    this.grid = null; // made when something is first looked for
    this.spanX = Math.max((east - west) / span, 0.05) || 1;
    this.spanY = Math.max((north - south) / span, 0.05) || 1;
  }

  /** Call `found(i)` for every shown point in the cells that touch a box, given in CSS pixels. */
  visit(x1, y1, x2, y2, found) {
    const across = (x) => (x - this.left) / this.scale, down = (y) => (y - this.top) / this.scale;
    this.grid ??= new Grid(this.x, this.y);
    this.grid.visit(across(x1), down(y1), across(x2), down(y2), (i) => this.shown[i] && found(i));
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width || !height) return;
    this.ratio = devicePixelRatio || 1;
    const [dx, dy] = [(width - (this.width || width)) / 2, (height - (this.height || height)) / 2];
    [this.width, this.height] = [width, height];
    for (const canvas of [this.base, this.overlay]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    this.image = this.context.createImageData(this.base.width, this.base.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.stamps = null;
    if (this.scale && this.scale !== this.fitted) this.pan(dx, dy);
    else this.fit();
  }

  /** Draw it anew with the next frame. */
  redraw() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      if (!this.pixels) return;
      const start = performance.now();
      this.#drawPoints();
      this.#drawOverlay();
      this.drawMilliseconds = performance.now() - start;
      this.on.view?.();
    });
  }

  /** A stamp for each code. */
  makeStamps(radius, css) {
    return makeStamps(this.styles, radius, this.ratio, this.base.width, css);
  }

  /** Small maps have large points; they grow slowly while zooming in. */
  radius() {
    const still = Math.max(2.5, 7.6 - 1.2 * Math.log10(Math.max(this.standing, 1)));
    return Math.round(4 * still * Math.min(2.2, Math.max(1, this.scale / this.fitted) ** 0.3)) / 4;
  }

  #drawPoints() {
    const radius = this.radius();
    if (!this.stamps || this.stampRadius !== radius) {
      Object.assign(this, this.makeStamps(radius, getComputedStyle(this.host)));
      this.stampRadius = radius;
    }
    const { pixels, ratio, x, y, shown, codes, stamps } = this;
    const { width, height } = this.base;
    const [scale, left, top] = [this.scale * ratio, this.left * ratio, this.top * ratio];
    pixels.fill(this.paper);
    const dense = this.standing > DENSE && this.#drawDensity(scale, left, top);
    const { order, rank, marked, looks } = this;
    const stampAll = (wanted) => {
      for (const i of order) {
        if (!shown[i] || (dense && rank[i] < ABOVE) || !wanted(i)) continue;
        const stamp = stamps[looks ? looks[i] : codes[i]];
        const px = Math.round(x[i] * scale + left), py = Math.round(y[i] * scale + top);
        if (!(px >= stamp.half && py >= stamp.half && px < width - stamp.half && py < height - stamp.half)) continue;
        const at = py * width + px;
        for (let k = 0; k < stamp.solid.length; k++) pixels[at + stamp.solid[k]] = stamp.solidColour[k];
        for (let k = 0; k < stamp.soft.length; k++) {
          const place = at + stamp.soft[k], below = pixels[place], colour = stamp.softColour[k], a = stamp.softAlpha[k], b = 256 - a;
          const redBlue = (((below & 0xff00ff) * b + (colour & 0xff00ff) * a) >>> 8) & 0xff00ff;
          const green = (((below & 0x00ff00) * b + (colour & 0x00ff00) * a) >>> 8) & 0x00ff00;
          pixels[place] = 0xff000000 | redBlue | green;
        }
      }
    };
    if (marked) {
      stampAll((i) => !marked[i]);
      this.#dim();
      stampAll((i) => marked[i]);
    } else stampAll(() => true);
    this.context.putImageData(this.image, 0, 0);
    if (!dense && !looks) this.#drawStacks(scale, left, top, radius);
  }

  /** Many points in one place look like one: a disc around them is as large as all of them beside each other, and says how many. */
  #drawStacks(scale, left, top, radius) {
    const { x, y, shown, order, marked, context, ratio } = this;
    const { width, height } = this.base;
    const size = Math.max(1, Math.round(CELL * ratio)), across = Math.ceil(width / size), down = Math.ceil(height / size);
    const counts = new Uint32Array(across * down), highest = new Map();
    for (const i of order) {
      if (!shown[i] || (marked && !marked[i])) continue;
      const px = x[i] * scale + left, py = y[i] * scale + top;
      if (!(px >= 0 && py >= 0 && px < width && py < height)) continue;
      const cell = ((py / size) | 0) * across + ((px / size) | 0);
      counts[cell] += this.weight?.[i] ?? 1;
      if (counts[cell] >= SEVERAL) highest.set(cell, i);
    }
    const css = getComputedStyle(this.host);
    context.save();
    context.textBaseline = "middle";
    context.font = `600 ${11 * ratio}px ${css.fontFamily}`;
    const said = []; // where a number stands: of two that would lie on one another the larger is written
    for (const [cell, i] of [...highest].sort((one, other) => counts[other[0]] - counts[one[0]])) {
      const n = counts[cell], px = x[i] * scale + left, py = y[i] * scale + top, wide = radius * ratio * Math.min(WIDEST, Math.sqrt(n));
      context.beginPath();
      context.arc(px, py, wide, 0, 7);
      context.globalAlpha = 0.3;
      context.fillStyle = css.getPropertyValue(this.styles[this.codes[i]].colour);
      context.fill();
      context.globalAlpha = 1;
      const text = `×${n}`, beside = px + (radius + 3) * ratio, end = beside + context.measureText(text).width;
      if (said.some((other) => beside < other.end && end > other.beside && Math.abs(py - other.py) < 12 * ratio)) continue;
      said.push({ beside, end, py });
      context.lineWidth = 3 * ratio;
      context.strokeStyle = css.getPropertyValue("--paper");
      context.fillStyle = css.getPropertyValue("--ink");
      context.strokeText(text, beside, py);
      context.fillText(text, beside, py);
    }
    context.restore();
  }

  /** Bring everything that is drawn so far nearer to the paper. */
  #dim() {
    const { pixels, paper } = this, a = 70, b = 256 - a;
    const redBlue = (paper & 0xff00ff) * b, green = (paper & 0x00ff00) * b;
    for (let k = 0; k < pixels.length; k++) {
      const drawn = pixels[k];
      if (drawn !== paper) pixels[k] = 0xff000000 | ((((drawn & 0xff00ff) * a + redBlue) >>> 8) & 0xff00ff) | ((((drawn & 0x00ff00) * a + green) >>> 8) & 0x00ff00);
    }
  }

  /** Draw the points below ABOVE as a density, if there are too many in view for single ones; whether it did. The more points in a
   *  cell, the stronger its colour, which is that of one of them. */
  #drawDensity(scale, left, top) {
    const { pixels, x, y, shown, rank, codes, weight } = this;
    const { width, height } = this.base;
    const size = Math.max(1, Math.round(CELL * this.ratio)), across = Math.ceil(width / size), down = Math.ceil(height / size);
    const counts = new Uint32Array(across * down), seen = new Uint8Array(across * down);
    let inside = 0, most = 1;
    for (let i = 0; i < this.count; i++) {
      if (!shown[i]) continue;
      const px = x[i] * scale + left, py = y[i] * scale + top;
      if (!(px >= 0 && py >= 0 && px < width && py < height)) continue;
      const one = weight ? weight[i] : 1;
      inside += one;
      if (rank[i] >= ABOVE) continue;
      const cell = ((py / size) | 0) * across + ((px / size) | 0);
      if ((counts[cell] += one) > most) most = counts[cell];
      seen[cell] = codes[i];
    }
    if (inside <= DENSE) return false;
    const full = Math.log1p(most), paper = this.paper;
    for (let cell = 0; cell < counts.length; cell++) {
      if (!counts[cell]) continue;
      const a = Math.round(256 * (0.22 + 0.78 * Math.log1p(counts[cell]) / full)), b = 256 - a, colour = this.stamps[seen[cell]].colour;
      const redBlue = (((paper & 0xff00ff) * b + (colour & 0xff00ff) * a) >>> 8) & 0xff00ff;
      const green = (((paper & 0x00ff00) * b + (colour & 0x00ff00) * a) >>> 8) & 0x00ff00;
      const pixel = 0xff000000 | redBlue | green;
      const west = (cell % across) * size, north = Math.floor(cell / across) * size;
      for (let row = north; row < Math.min(north + size, height); row++) pixels.fill(pixel, row * width + west, row * width + Math.min(west + size, width));
    }
    return true;
  }

  #drawOverlay() {
    const context = this.overlay.getContext("2d");
    const css = getComputedStyle(this.host);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    const ring = (i, radius, width) => {
      for (const [colour, extra] of [["--paper", 3], ["--ink", 0]]) {
        context.beginPath();
        context.arc(...this.position(i), radius, 0, 7);
        context.strokeStyle = css.getPropertyValue(colour);
        context.lineWidth = width + extra;
        context.stroke();
      }
    };
    this.drawBehind?.(context, css);
    if (this.hovered >= 0) ring(this.hovered, this.radius() + 4, 1.5);
    if (this.selected >= 0) ring(this.selected, this.radius() + 7, 2.5);
    const line = this.loop ?? this.outline?.map(([x, y]) => [x * this.scale + this.left, y * this.scale + this.top]);
    if (line) {
      context.beginPath();
      line.forEach(([x, y]) => context.lineTo(x, y));
      context.closePath();
      context.strokeStyle = css.getPropertyValue("--ink");
      context.setLineDash([5, 4]);
      context.lineWidth = 1.5;
      context.stroke();
      context.setLineDash([]);
      context.globalAlpha = 0.08;
      context.fillStyle = css.getPropertyValue("--ink");
      context.fill();
      context.globalAlpha = 1;
    }
  }

  #bringIntoView(i) {
    const [x, y] = this.position(i), edge = 32;
    const back = (value, size) => (value < edge || value > size - edge ? size / 2 - value : 0);
    this.left += back(x, this.width);
    this.top += back(y, this.height);
  }

  #hover(i, x = 0, y = 0) {
    if (i !== this.hovered) {
      this.hovered = i;
      this.#drawOverlay();
    }
    this.on.hover(i, x, y);
  }

  #listen() {
    const canvas = this.overlay, pointers = new Map();
    let travelled = 0, pinch = 0;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const distance = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };

    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, place(event));
      travelled = 0;
      if (pointers.size === 2) { pinch = distance(); this.loop = null; }
      else if (this.lassoing || event.shiftKey) this.loop = [place(event)];
    });
    canvas.addEventListener("pointermove", (event) => {
      const now = place(event), before = pointers.get(event.pointerId);
      if (!before) { this.#hover(this.nearest(...now), ...now); return; }
      const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
      travelled += Math.abs(dx) + Math.abs(dy);
      pointers.set(event.pointerId, now);
      // A busy browser tells all the moves between two frames at once: every corner of a lasso counts.
      if (this.loop) { this.loop.push(...event.getCoalescedEvents().map(place), now); this.#drawOverlay(); }
      else if (pointers.size === 2) {
        const [a, b] = [...pointers.values()], wide = distance();
        this.pan(dx / 2, dy / 2);
        this.zoom(wide / (pinch || wide), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
        pinch = wide;
      } else if (travelled > 4) { this.#hover(-1); this.drag(dx, dy, event); }
    });
    const lift = (event) => {
      if (!pointers.delete(event.pointerId)) return;
      const loop = this.loop;
      this.loop = null;
      if (event.type === "pointercancel" || pointers.size) return;
      if (loop && travelled > 12) {
        const inside = this.#within(loop);
        const outline = loop.map(([x, y]) => [(x - this.left) / this.scale, (y - this.top) / this.scale]);
        if (inside.length) this.mark(inside, outline);
        else this.mark(null);
        this.on.lasso(inside);
      }
      else if (travelled <= 4) this.select(this.nearest(...place(event), event.pointerType === "touch" ? 22 : 10));
      this.#drawOverlay();
    };
    canvas.addEventListener("pointerup", lift);
    canvas.addEventListener("pointercancel", lift);
    canvas.addEventListener("pointerleave", () => this.#hover(-1));
    canvas.addEventListener("wheel", (event) => {
      // The page scrolls on until the map has been clicked, or Ctrl is held: a map that swallows scrolling is a trap.
      if (document.activeElement !== canvas && !event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), ...place(event));
    }, { passive: false });
    const keys = {
      ArrowLeft: [48, 0], ArrowRight: [-48, 0], ArrowUp: [0, 48], ArrowDown: [0, -48],
      "+": () => this.zoom(1.4), "=": () => this.zoom(1.4), "-": () => this.zoom(1 / 1.4), 0: () => this.reset(), Escape: () => this.select(-1),
    };
    canvas.addEventListener("keydown", (event) => {
      const act = keys[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey || !act) return;
      event.preventDefault();
      if (Array.isArray(act)) this.arrow(...act, event);
      else act();
    });
    canvas.tabIndex = 0;
  }

  /** The shown points inside a closed line (even-odd rule). */
  #within(loop) {
    const [xs, ys] = [loop.map(([x]) => x), loop.map(([, y]) => y)];
    const inside = [];
    this.visit(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), (i) => {
      const [x, y] = this.position(i);
      let odd = false;
      for (let a = 0, b = loop.length - 1; a < loop.length; b = a++) {
        if (ys[a] > y !== ys[b] > y && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) odd = !odd;
      }
      if (odd) inside.push(i);
    });
    return inside;
  }
}
