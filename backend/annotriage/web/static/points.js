/* The points of a map, piece by piece as the service stores them, in typed arrays. The layout is told in store/map_points.py. */

const OTHERS = 255;

/** One piece: {n, ids, x, y, z, route, label, dataset, score, axes}, z of a map in space; maps that were drawn before there were axes have none. */
function unpack(buffer) {
  const n = new DataView(buffer).getUint32(0, true);
  const ids = new Uint32Array(buffer, 4, n).slice();
  for (let i = 1; i < n; i++) ids[i] += ids[i - 1];
  const plane = (k) => new Uint8Array(buffer, 4 + (4 + k) * n, n);
  const axes = buffer.byteLength >= 4 + 13 * n ? plane(8) : new Uint8Array(n);
  const inSpace = n > 0 && buffer.byteLength === 4 + 15 * n;
  const both = (low, high) => Uint16Array.from({ length: n }, (_, i) => low[i] | (high[i] << 8));
  const z = inSpace ? both(plane(9), plane(10)) : null;
  return { n, ids, x: both(plane(0), plane(1)), y: both(plane(2), plane(3)), z, route: plane(4), label: plane(5), dataset: plane(6), score: plane(7), axes };
}

export class Points {
  /** base: the address of the map's page. values: of each place, 2 or, in space, 3. */
  constructor(base, id, values = 2) {
    this.values = values;
    this.base = base;
    this.id = id;
    this.pieces = new Map();
    this.members = new Map();
  }

  /** Fetch what is new or changed, and lay all pieces end to end; whether anything was. pieces: [number, n, version] each. */
  async load(pieces, told = () => {}) {
    const due = pieces.filter(([number, , version]) => this.pieces.get(number)?.version !== version);
    if (!due.length && this.count !== undefined) return false;
    const total = due.reduce((sum, [, n]) => sum + n, 0);
    let done = 0;
    const fetched = await inTurns(due, 4, async ([number, n, version]) => {
      const answer = await fetch(`${this.base}/${this.id}/points/${number}?version=${version}`);
      if (!answer.ok) throw new Error(`the points could not be had (${answer.status})`);
      const piece = unpack(await answer.arrayBuffer());
      told(done += n, total);
      return [number, { ...piece, version }];
    });
    const answer = await fetch(`${this.base}/${this.id}/legend`);
    if (!answer.ok) throw new Error(`the legend could not be had (${answer.status})`);
    const legend = await answer.json();
    const groups = new Uint32Array(await (await fetch(`${this.base}/groups`)).arrayBuffer());
    const members = groups[0] ?? 0;
    // From here on nothing is waited for: half of it new, points would be looked for where they are not.
    for (const [number, piece] of fetched) this.pieces.set(number, piece);
    this.legend = legend;
    this.members = new Map(Array.from({ length: members }, (_, k) => [groups[1 + k], groups[1 + members + k]]));
    this.#join();
    return true;
  }

  isTraining(i) { return this.route[i] === 0; }
  kindOf(i) { return this.legend.routes[this.route[i]]; }
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
    return code === 1 ? "quite usual" : `stranger than ${+(100 * edges[code - 2]).toFixed(1)}%`;
  }

  #join() {
    const numbers = [...this.pieces.keys()].sort((a, b) => a - b);
    this.count = numbers.reduce((sum, number) => sum + this.pieces.get(number).n, 0);
    this.ids = new Uint32Array(this.count);
    this.xy = new Float32Array(this.values * this.count);
    for (const column of ["route", "label", "dataset", "score", "axes", "group"]) this[column] = new Uint8Array(this.count);
    let start = 0;
    for (const number of numbers) {
      const piece = this.pieces.get(number);
      piece.start = start;
      this.ids.set(piece.ids, start);
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
