/* The points of a map, piece by piece as the service stores them, in typed arrays. The layout is told in store/map_points.py.
 *
 * A map of more points than `whole` is thinned while its pieces come in, and no more than a few of them are held at once: of the points
 * of one route in one cell the strangest stands for all, and `weight` says for how many. `look` draws a part of the map in finer cells;
 * the rest of it stays in those of the whole, so that all weights together are all points wherever one looks.
 */

const OTHERS = 255, FULL = 65535;
const SIDE = 1024; // cells along each side of what is looked at
const SIDE_IN_SPACE = 100;
const GROUPED = new Set(["outlier"]); // the routes whose items may belong to groups
const ALL = { west: 0, south: 0, size: FULL + 1 };

/** One piece: {n, ids, x, y, z, route, label, dataset, score, axes}, z of a map in space; maps that were drawn before there were axes have none. */
function unpack(buffer) {
  const n = new DataView(buffer).getUint32(0, true);
  const ids = new Uint32Array(buffer, 4, n).slice();
  for (let i = 1; i < n; i++) ids[i] += ids[i - 1];
  const plane = (k) => new Uint8Array(buffer, 4 + (4 + k) * n, n);
  const axes = buffer.byteLength >= 4 + 13 * n ? plane(8) : new Uint8Array(n);
  const inSpace = n > 0 && buffer.byteLength === 4 + 15 * n;
  const both = (low, high) => {
    const joined = new Uint16Array(n);
    for (let i = 0; i < n; i++) joined[i] = low[i] | (high[i] << 8);
    return joined;
  };
  const z = inSpace ? both(plane(9), plane(10)) : null;
  return { n, ids, x: both(plane(0), plane(1)), y: both(plane(2), plane(3)), z, route: plane(4), label: plane(5), dataset: plane(6), score: plane(7), axes };
}

export class Points {
  /** base: the address of the map's page. values: of each place, 2 or, in space, 3. dataset: the one whose groups are told, "" for all.
   *  whole: how many points are held at most each by itself. */
  constructor(base, id, values = 2, dataset = "", whole = Infinity) {
    this.values = values;
    this.base = base;
    this.id = id;
    this.whole = whole;
    this.query = dataset ? `?dataset=${encodeURIComponent(dataset)}` : "";
    this.pieces = new Map();
    this.members = new Map();
    this.looked = ALL;
    this.known = { pieces: [], items: null }; // what was loaded last
    this.pinned = new Set(); // items that stand for themselves wherever they lie
  }

  /** Fetch what is new or changed, and lay all pieces end to end; whether anything was. pieces: [number, n, version] each.
   *  items: of a map that is thinned those that pass, ascending, null for all. */
  async load(pieces, told = () => {}, items = null) {
    if (pieces.reduce((sum, [, n]) => sum + n, 0) > this.whole) return this.#thin(pieces, told, items);
    const due = pieces.filter(([number, , version]) => this.pieces.get(number)?.version !== version);
    if (!due.length && this.count !== undefined) return false;
    const wanted = due.reduce((sum, [, n]) => sum + n, 0);
    let done = 0;
    const fetched = await inTurns(due, 4, async ([number, n, version]) => {
      const piece = await this.#piece(number, version);
      told(done += n, wanted);
      return [number, { ...piece, version }];
    });
    const { legend, members } = await this.#names();
    // From here on nothing is waited for: half of it new, points would be looked for where they are not.
    for (const [number, piece] of fetched) this.pieces.set(number, piece);
    Object.assign(this, { legend, members, known: { pieces, items }, thinned: false });
    this.#join();
    return true;
  }

  /** Whether all of these pieces are loaded as they are now. pieces: as for `load`. */
  holds(pieces) {
    const versions = new Map(this.known.pieces.map(([number, , version]) => [number, version]));
    return pieces.every(([number, , version]) => versions.get(number) === version);
  }

  /** Of a map that is thinned: the points in a square of it, in finer cells; whether they are others now. square: {west, south, size}. */
  async look(square) {
    const before = this.looked;
    this.looked = square ?? ALL;
    try {
      return await this.#thin(this.known.pieces, () => {}, this.known.items);
    } catch (error) {
      this.looked = before;
      throw error;
    }
  }

  /** For how many points one stands. */
  standing(i) { return this.weight ? this.weight[i] : 1; }

  /** The width of a cell, in the map's units. */
  get cell() { return this.looked.size / SIDE; }

  async #thin(pieces, told, items) {
    const names = await this.#names(), grouped = new Uint8Array(256), { pinned } = this;
    names.legend.routes.forEach((route, code) => { grouped[code] = GROUPED.has(route) ? 1 : 0; });
    const kept = new Kept(this.values, this.looked, names.legend.routes.length), total = pieces.reduce((sum, [, n]) => sum + n, 0);
    const pins = pinned.size;
    let done = 0, training = null;
    await inTurns(pieces, 3, async ([number, n, version]) => {
      const piece = await this.#piece(number, version);
      if (number === 0) training = piece;
      else kept.add(piece, items, (id, route) => (grouped[route] === 1 && names.members.has(id)) || (pinned.size > 0 && pinned.has(id)));
      told(done += n, total);
    });
    const incoming = kept.piece(), drawn = (id) => incoming.ids[firstFrom(incoming.ids, id)] === id;
    // What was pinned meanwhile may have been read before as one of those that another stands for.
    if (![...pinned].slice(pins).every(drawn)) return this.#thin(pieces, told, items);
    Object.assign(this, names, { known: { pieces, items }, thinned: true });
    this.pieces = new Map([[0, training], [1, incoming]].filter(([, piece]) => piece));
    this.#join();
    return true;
  }

  async #piece(number, version) {
    const answer = await fetch(`${this.base}/${this.id}/points/${number}?version=${version}`);
    if (!answer.ok) throw new Error(`the points could not be had (${answer.status})`);
    return unpack(await answer.arrayBuffer());
  }

  /** The legend, and which items belong to groups. */
  async #names() {
    const answer = await fetch(`${this.base}/${this.id}/legend${this.query}`);
    if (!answer.ok) throw new Error(`the legend could not be had (${answer.status})`);
    const legend = await answer.json();
    const groups = new Uint32Array(await (await fetch(`${this.base}/groups${this.query}`)).arrayBuffer());
    const members = groups[0] ?? 0;
    return { legend, members: new Map(Array.from({ length: members }, (_, k) => [groups[1 + k], groups[1 + members + k]])) };
  }

  isTraining(i) { return this.route[i] === 0; }
  kindOf(i) { return this.legend.routes[this.route[i]]; }
  datasetOf(i) { return this.isTraining(i) ? "" : this.legend.datasets[this.dataset[i] - 1]?.name ?? ""; }
  labelOf(i) { return name(this.label[i], this.legend.classes, "other classes"); }

  /** The point of an item, -1 if it is not on the map. */
  find(item) {
    for (const [number, piece] of this.pieces) {
      if (number === 0) continue;
      let low = 0, high = piece.n - 1;
      while (low <= high) {
        const middle = (low + high) >> 1;
        if (piece.ids[middle] === item) return piece.start + middle;
        if (piece.ids[middle] < item) low = middle + 1; else high = middle - 1;
      }
    }
    return -1;
  }

  /** 1 for each point of these items, which are ascending, and for all training items; else 0. */
  among(items) {
    const mask = new Uint8Array(this.count);
    for (const [number, piece] of this.pieces) {
      if (number === 0) { mask.fill(1, piece.start, piece.start + piece.n); continue; }
      for (let i = 0, k = 0; i < piece.n && k < items.length;) {
        if (piece.ids[i] === items[k]) mask[piece.start + i] = 1;
        if (piece.ids[i] <= items[k]) i++; else k++;
      }
    }
    return mask;
  }

  /** The point of a training item by its place in the sample. */
  findTraining(place) {
    const piece = this.pieces.get(0);
    return piece && place < piece.n ? piece.start + place : -1;
  }

  /** These items have other routes by now. */
  reroute(items, codes) {
    items.forEach((item, k) => {
      const i = this.find(item);
      if (i < 0 || !codes[k]) return;
      this.route[i] = codes[k];
      const piece = [...this.pieces.values()].find((one) => i >= one.start && i < one.start + one.n);
      piece.route[i - piece.start] = codes[k]; // or laying all end to end would bring the old one back
    });
  }

  /** "stranger than 99%", from the code of the outlier score. */
  strangeness(i) {
    const code = this.score[i], edges = this.legend.score_edges;
    if (code === 0) return "";
    return code === 1 ? "quite usual" : `stranger than at least ${+(100 * edges[code - 2]).toFixed(1)}%`;
  }

  #join() {
    const numbers = [...this.pieces.keys()].sort((a, b) => a - b);
    this.count = numbers.reduce((sum, number) => sum + this.pieces.get(number).n, 0);
    this.ids = new Uint32Array(this.count);
    this.xy = new Float32Array(this.values * this.count);
    for (const column of ["route", "label", "dataset", "score", "axes", "group"]) this[column] = new Uint8Array(this.count);
    this.weight = this.thinned ? new Uint32Array(this.count).fill(1) : null;
    let start = 0;
    for (const number of numbers) {
      const piece = this.pieces.get(number);
      piece.start = start;
      this.ids.set(piece.ids, start);
      if (piece.weight) this.weight.set(piece.weight, start);
      for (const column of ["route", "label", "dataset", "score", "axes"]) this[column].set(piece[column], start);
      [piece.x, piece.y, piece.z].slice(0, this.values).forEach((axis, k) => {
        for (let i = 0; i < piece.n; i++) this.xy[this.values * (start + i) + k] = axis[i];
      });
      start += piece.n;
    }
    for (const [item, number] of this.members) {
      const i = this.find(item);
      if (i >= 0) this.group[i] = Math.min(number, OTHERS);
    }
  }
}

/** The points that stand for all of a map: one for each cell and route, in finer cells within the square that is looked at. */
class Kept {
  #columns = { ids: new Uint32Array(1024), weight: new Uint32Array(1024), x: new Uint16Array(1024), y: new Uint16Array(1024), z: new Uint16Array(1024),
    route: new Uint8Array(1024), label: new Uint8Array(1024), dataset: new Uint8Array(1024), score: new Uint8Array(1024), axes: new Uint8Array(1024) };
  #count = 0;

  constructor(values, looked, routes) {
    this.values = values;
    this.side = values === 3 ? SIDE_IN_SPACE : SIDE;
    const places = () => new Uint32Array(routes * this.side ** values); // of the point that stands for a cell, plus one
    const cells = ({ west, south, size }) => ({ west, south, scale: this.side / size, places: places() });
    this.all = cells(ALL);
    this.near = looked.size < ALL.size ? cells(looked) : this.all;
  }

  /** Points of a piece. items: those that pass, ascending, null for all. alone: whether a point stands for itself, by its id and route. */
  add(piece, items, alone) {
    const { side, values, all, near } = this;
    for (let i = 0, k = items && piece.n ? firstFrom(items, piece.ids[0]) : 0; i < piece.n; i++) {
      if (items) {
        while (k < items.length && items[k] < piece.ids[i]) k++;
        if (items[k] !== piece.ids[i]) continue;
      }
      if (alone(piece.ids[i], piece.route[i])) { this.#put(this.#more(), piece, i); continue; }
      let cells = near, x = Math.floor((piece.x[i] - near.west) * near.scale), y = Math.floor((piece.y[i] - near.south) * near.scale);
      if (x < 0 || y < 0 || x >= side || y >= side) {
        cells = all;
        x = Math.floor(piece.x[i] * all.scale);
        y = Math.floor(piece.y[i] * all.scale);
      }
      let cell = (piece.route[i] * side + y) * side + x;
      if (values === 3) cell = cell * side + Math.floor(piece.z[i] * cells.scale);
      const { places } = cells;
      const before = places[cell] - 1;
      if (before < 0) {
        places[cell] = this.#count + 1;
        this.#put(this.#more(), piece, i);
      } else {
        const weight = this.#columns.weight[before] + 1;
        if (piece.score[i] > this.#columns.score[before]) this.#put(before, piece, i);
        this.#columns.weight[before] = weight;
      }
    }
  }

  /** All of them as one piece, by ascending id. */
  piece() {
    const n = this.#count, { ids } = this.#columns, order = Uint32Array.from({ length: n }, (_, i) => i).sort((a, b) => ids[a] - ids[b]);
    const columns = Object.entries(this.#columns).map(([name, column]) => {
      const sorted = new column.constructor(n);
      for (let i = 0; i < n; i++) sorted[i] = column[order[i]];
      return [name, sorted];
    });
    return { n, ...Object.fromEntries(columns) };
  }

  #more() {
    const columns = this.#columns;
    if (this.#count === columns.ids.length) {
      for (const name of Object.keys(columns)) {
        const longer = new columns[name].constructor(2 * this.#count);
        longer.set(columns[name]);
        columns[name] = longer;
      }
    }
    return this.#count++;
  }

  #put(at, piece, i) {
    const columns = this.#columns;
    columns.ids[at] = piece.ids[i];
    columns.x[at] = piece.x[i];
    columns.y[at] = piece.y[i];
    if (piece.z) columns.z[at] = piece.z[i];
    columns.route[at] = piece.route[i];
    columns.label[at] = piece.label[i];
    columns.dataset[at] = piece.dataset[i];
    columns.score[at] = piece.score[i];
    columns.axes[at] = piece.axes[i];
    columns.weight[at] = 1;
  }
}

/** Where the first of ascending values stands that is no smaller than this one. */
function firstFrom(values, least) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < least) low = middle + 1; else high = middle;
  }
  return low;
}

/** The name of a code: 0 is none. */
export function name(code, names, others) {
  return code === 0 ? "" : code === OTHERS ? others : names[code - 1] ?? others;
}

/** Do something for each, so many at a time; the results in their order. */
async function inTurns(list, most, act) {
  const results = new Array(list.length);
  let next = 0;
  const work = async () => { while (next < list.length) { const k = next++; results[k] = await act(list[k]); } };
  await Promise.all(Array.from({ length: Math.min(most, list.length) }, work));
  return results;
}
