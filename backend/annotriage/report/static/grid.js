/** An index of points in the square from -0.5 to 0.5: cell c holds points[start[c] .. start[c + 1]]. Points without a place are left out. */
export class Grid {
  constructor(x, y) {
    const count = x.length;
    this.side = Math.max(1, Math.min(256, Math.ceil(Math.sqrt(count / 4))));
    this.start = new Uint32Array(this.side * this.side + 1);
    this.points = new Uint32Array(count);
    const cell = new Int32Array(count).fill(-1);
    for (let i = 0; i < count; i++) {
      if (!Number.isFinite(x[i] + y[i])) continue;
      cell[i] = this.#along(y[i]) * this.side + this.#along(x[i]);
      this.start[cell[i] + 1]++;
    }
    for (let c = 0; c < this.side * this.side; c++) this.start[c + 1] += this.start[c];
    const next = this.start.slice();
    for (let i = 0; i < count; i++) if (cell[i] >= 0) this.points[next[cell[i]]++] = i;
  }

  /** Call `found(i)` for every point in the cells that touch the box from (x1, y1) to (x2, y2). */
  visit(x1, y1, x2, y2, found) {
    const [west, east] = [this.#along(x1), this.#along(x2)];
    for (let row = this.#along(y1); row <= this.#along(y2); row++) {
      for (let k = this.start[row * this.side + west]; k < this.start[row * this.side + east + 1]; k++) found(this.points[k]);
    }
  }

  #along(value) {
    return Math.min(this.side - 1, Math.max(0, Math.floor((value + 0.5) * this.side)));
  }
}
