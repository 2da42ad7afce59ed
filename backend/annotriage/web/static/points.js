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

/** One piece: {n, ids, xy, route, label, dataset, score, axes}; xy: the two values of each place in turn, three of a map in space. Maps that
 *  were drawn before there were axes have none. */
function unpack(buffer) {
  const n = new DataView(buffer).getUint32(0, true);
  const ids = new Uint32Array(buffer, 4, n).slice();
  for (let i = 1; i < n; i++) ids[i] += ids[i - 1];
  const plane = (k) => new Uint8Array(buffer, 4 + (4 + k) * n, n);
  const axes = buffer.byteLength >= 4 + 13 * n ? plane(8) : new Uint8Array(n);
  const inSpace = n > 0 && buffer.byteLength === 4 + 15 * n;
  const places = inSpace ? [0, 2, 9] : [0, 2], xy = new Uint16Array(places.length * n);
  places.forEach((k, axis) => {
    const low = plane(k), high = plane(k + 1);
    for (let i = 0; i < n; i++) xy[places.length * i + axis] = low[i] | (high[i] << 8);
  });
  return { n, ids, xy, route: plane(4), label: plane(5), dataset: plane(6), score: plane(7), axes };
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
      if (i >= 0 && codes[k]) this.route[i] = codes[k];
    });
  }

  /** "stranger than 99%", from the code of the outlier score. */
  strangeness(i) {
    const code = this.score[i], edges = this.legend.score_edges;
    if (code === 0) return "";
    return code === 1 ? "quite usual" : `stranger than at least ${+(100 * edges[code - 2]).toFixed(1)}%`;
  }

  /** Lay all pieces end to end. They are parts of the whole from then on: nothing is held twice, and what changes in it changes in them. */
  #join() {
    const pieces = [...this.pieces].sort(([a], [b]) => a - b).map(([, piece]) => piece);
    this.count = 0;
    for (const piece of pieces) {
      piece.start = this.count;
      this.count += piece.n;
    }
    const lay = (name, width, whole) => {
      for (const piece of pieces) {
        const begin = width * piece.start;
        if (piece[name]) whole.set(piece[name], begin);
        piece[name] = whole.subarray(begin, begin + width * piece.n);
      }
      this[name] = whole;
    };
    lay("ids", 1, new Uint32Array(this.count));
    lay("xy", this.values, new Uint16Array(this.values * this.count));
    for (const column of ["route", "label", "dataset", "score", "axes"]) lay(column, 1, new Uint8Array(this.count));
    if (this.thinned) lay("weight", 1, new Uint32Array(this.count).fill(1));
    else this.weight = null;
    this.group = new Uint8Array(this.count);
    for (const [item, number] of this.members) {
      const i = this.find(item);
      if (i >= 0) this.group[i] = Math.min(number, OTHERS);
    }
  }
}

/** The points that stand for all of a map: one for each cell and route, in finer cells within the square that is looked at. */
class Kept {
  #columns = { ids: new Uint32Array(1024), weight: new Uint32Array(1024), route: new Uint8Array(1024), label: new Uint8Array(1024),
    dataset: new Uint8Array(1024), score: new Uint8Array(1024), axes: new Uint8Array(1024) };
  #room = 1024;
  #count = 0;

  constructor(values, looked, routes) {
    this.values = values;
    this.side = values === 3 ? SIDE_IN_SPACE : SIDE;
    this.#columns.xy = new Uint16Array(values * this.#room);
    // places: by route, of the point that stands for a cell, plus one; made for the routes that there are
    const cells = ({ west, south, size }) => ({ west, south, scale: this.side / size, places: new Array(routes).fill(null) });
    this.all = cells(ALL);
    this.near = looked.size < ALL.size ? cells(looked) : this.all;
  }

  /** Points of a piece. items: those that pass, ascending, null for all. alone: whether a point stands for itself, by its id and route. */
  add(piece, items, alone) {
    const { side, values, all, near } = this, { xy } = piece;
    for (let i = 0, k = items && piece.n ? firstFrom(items, piece.ids[0]) : 0; i < piece.n; i++) {
      if (items) {
        while (k < items.length && items[k] < piece.ids[i]) k++;
        if (items[k] !== piece.ids[i]) continue;
      }
      if (alone(piece.ids[i], piece.route[i])) { this.#put(this.#more(), piece, i); continue; }
      const at = values * i;
      let cells = near, x = Math.floor((xy[at] - near.west) * near.scale), y = Math.floor((xy[at + 1] - near.south) * near.scale);
      if (x < 0 || y < 0 || x >= side || y >= side) {
        cells = all;
        x = Math.floor(xy[at] * all.scale);
        y = Math.floor(xy[at + 1] * all.scale);
      }
      let cell = y * side + x;
      if (values === 3) cell = cell * side + Math.floor(xy[at + 2] * cells.scale);
      const places = (cells.places[piece.route[i]] ??= new Uint32Array(side ** values));
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

  /** All of them as one piece, by ascending id. For once: what is here goes as the piece comes, so that both are never held. */
  piece() {
    const n = this.#count, order = ascending(this.#columns.ids.subarray(0, n)), piece = { n };
    this.all = this.near = null;
    for (const [name, column] of Object.entries(this.#columns)) {
      const width = this.#width(name), sorted = (piece[name] = new column.constructor(width * n));
      for (let i = 0; i < n; i++) for (let k = 0; k < width; k++) sorted[width * i + k] = column[width * order[i] + k];
      delete this.#columns[name];
    }
    return piece;
  }

  #width(name) { return name === "xy" ? this.values : 1; }

  #more() {
    const columns = this.#columns;
    if (this.#count === this.#room) {
      this.#room = Math.ceil(1.5 * this.#room);
      for (const name of Object.keys(columns)) {
        const longer = new columns[name].constructor(this.#width(name) * this.#room);
        longer.set(columns[name]);
        columns[name] = longer;
      }
    }
    return this.#count++;
  }

  #put(at, piece, i) {
    const columns = this.#columns;
    columns.ids[at] = piece.ids[i];
    for (let k = 0; k < this.values; k++) columns.xy[this.values * at + k] = piece.xy[this.values * i + k];
    columns.route[at] = piece.route[i];
    columns.label[at] = piece.label[i];
    columns.dataset[at] = piece.dataset[i];
    columns.score[at] = piece.score[i];
    columns.axes[at] = piece.axes[i];
    columns.weight[at] = 1;
  }
}

/** The places of whole numbers below 2^32 in their ascending order. By halves of their bits: sorting by a comparison holds all of them thrice. */
function ascending(values) {
  let order = new Uint32Array(values.length), next = new Uint32Array(values.length);
  for (let i = 0; i < order.length; i++) order[i] = i;
  for (const shift of [0, 16]) {
    const starts = new Uint32Array(65537);
    for (const value of values) starts[((value >>> shift) & 65535) + 1]++;
    for (let k = 0; k < 65536; k++) starts[k + 1] += starts[k];
    for (const i of order) next[starts[(values[i] >>> shift) & 65535]++] = i;
    [order, next] = [next, order];
  }
  return order;
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
