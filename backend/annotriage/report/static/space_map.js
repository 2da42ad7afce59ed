/* A map of points in space, turned by dragging. Shared by report.html and the dashboard.
 *
 * What it shows is a map in the plane of what the eye sees: places are turned and brought to the plane, the nearest are drawn last, and all
 * that the map in the plane can do (hover, click, lasso, zoom) goes by those places. Farther points are smaller and paler. Nothing moves
 * by itself.
 */
import { PointMap } from "./map.js";
import { makeStamps } from "./markers.js";

const EYE = 2.6; // from the middle to the eye, in sides of the cube
const START = { around: 0.6, above: 0.4 }; // radians
const FADES = [0, 0.22, 0.42, 0.6]; // how much of the paper each step of depth takes, the nearest first
const SMALLER = 0.13; // and how much smaller each is
const SLICES = 1024; // of depth, which order the points
const PER_PIXEL = 0.008, PER_KEY = 0.12; // radians

const CORNERS = [0, 1, 2, 3, 4, 5, 6, 7].map((k) => [k & 1, (k >> 1) & 1, k >> 2].map((end) => 2 * end - 1));
const EDGES = CORNERS.flatMap((_, a) => [1, 2, 4].filter((bit) => !(a & bit)).map((bit) => [a, a | bit]));

export class SpaceMap extends PointMap {
  get values() { return 3; }

  /** Places around 0, the largest side 1; points without a place are never shown. */
  place(xyz) {
    this.view ??= { ...START };
    this.at = new Float32Array(3 * this.count);
    this.x = new Float32Array(this.count);
    this.y = new Float32Array(this.count);
    this.near = new Float32Array(this.count);
    this.order = new Uint32Array(this.count);
    this.looks = new Uint16Array(this.count);
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    const whole = (i) => Number.isFinite(xyz[3 * i] + xyz[3 * i + 1] + xyz[3 * i + 2]);
    for (let i = 0; i < this.count; i++) {
      if (!whole(i)) continue;
      for (let axis = 0; axis < 3; axis++) {
        low[axis] = Math.min(low[axis], xyz[3 * i + axis]);
        high[axis] = Math.max(high[axis], xyz[3 * i + axis]);
      }
    }
    if (this.side) { low.fill(0); high.fill(this.side); }
    const span = Math.max(...high.map((end, axis) => end - low[axis])) || 1;
    let farthest = 0;
    this.box = [0, 0, 0]; // from the middle to the farthest point along each axis
    for (let i = 0; i < this.count; i++) {
      for (let axis = 0; axis < 3; axis++) {
        const along = whole(i) ? (xyz[3 * i + axis] - (low[axis] + high[axis]) / 2) / span : NaN;
        this.at[3 * i + axis] = along;
        this.box[axis] = Math.max(this.box[axis], Math.abs(along) || 0);
      }
      farthest = Math.max(farthest, Math.hypot(this.at[3 * i], this.at[3 * i + 1], this.at[3 * i + 2]) || 0);
    }
    this.reach = Math.max(farthest, 0.05);
    // However it is turned, everything fits: the ball around the middle, as large as it looks.
    this.spanX = this.spanY = (2 * this.reach * EYE) / Math.sqrt(EYE * EYE - this.reach * this.reach);
    this.turn();
  }

  /** Turn by so much, in radians; what is seen follows. */
  turn(around = 0, above = 0) {
    this.view.around += around;
    this.view.above = Math.min(Math.PI / 2, Math.max(-Math.PI / 2, this.view.above + above));
    const { at, x, y, near } = this, seen = this.eye(), place = [0, 0, 0];
    for (let i = 0; i < this.count; i++) {
      seen(at[3 * i], at[3 * i + 1], at[3 * i + 2], place);
      x[i] = place[0];
      y[i] = place[1];
      near[i] = place[2];
    }
    this.grid = null;
    this.outline = null; // a lasso's line was drawn around what was seen from elsewhere
    this.sort();
    this.redraw();
  }

  /** A function that says where the eye sees a place: across, down, and how near it is, put into `found`. */
  eye() {
    const { around, above } = this.view;
    const [c, s, ca, sa] = [Math.cos(around), Math.sin(around), Math.cos(above), Math.sin(above)];
    return (x, y, z, found) => {
      const back = z * c - x * s, near = y * sa + back * ca, larger = EYE / (EYE - near);
      found[0] = (x * c + z * s) * larger;
      found[1] = (back * sa - y * ca) * larger;
      found[2] = near;
      return found;
    };
  }

  /** The point in front of the others where its marker is under (x, y), else the nearest one within `reach` CSS pixels, else -1. */
  nearest(x, y, reach = 10) {
    const covers = this.radius() ** 2;
    let best = -1, least = Infinity;
    this.visit(x - reach, y - reach, x + reach, y + reach, (i) => {
      const [px, py] = this.position(i), distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance > reach * reach) return;
      const rank = distance <= covers ? -10 - this.near[i] : distance;
      if (rank < least) { best = i; least = rank; }
    });
    return best;
  }

  /** The farthest first. */
  sort() {
    const { near, order, reach } = this, starts = new Uint32Array(SLICES + 1), slice = new Uint16Array(this.count);
    for (let i = 0; i < this.count; i++) {
      slice[i] = Math.max(0, Math.min(SLICES - 1, ((near[i] / reach + 1) / 2) * SLICES)) || 0;
      starts[slice[i] + 1]++;
    }
    for (let k = 0; k < SLICES; k++) starts[k + 1] += starts[k];
    for (let i = 0; i < this.count; i++) order[starts[slice[i]]++] = i;
    this.look();
  }

  /** The stamp of each point: by its code, and by how far it is. */
  look() {
    const { near, looks, codes, reach, styles } = this, steps = FADES.length;
    for (let i = 0; i < this.count; i++) {
      const step = Math.floor(((1 - near[i] / reach) / 2) * steps);
      looks[i] = codes[i] + styles.length * (step > 0 ? Math.min(steps - 1, step) : 0);
    }
  }

  paint(codes, styles) {
    super.paint(codes, styles);
    this.look();
  }

  /** As many sets as there are steps of depth, the nearest first. */
  makeStamps(radius, css) {
    const sets = FADES.map((fade, step) => makeStamps(this.styles, radius * (1 - SMALLER * step), this.ratio, this.base.width, css, fade));
    return { stamps: sets.flatMap((set) => set.stamps), paper: sets[0].paper };
  }

  /** The box around the points, but for the edges at its nearest corner, so that it is open to the eye. */
  drawBehind(context, css) {
    const seen = this.eye(), corners = CORNERS.map((corner) => seen(...corner.map((end, axis) => end * this.box[axis]), [0, 0, 0]));
    const nearest = corners.reduce((best, corner, k) => (corner[2] > corners[best][2] ? k : best), 0);
    context.beginPath();
    for (const [a, b] of EDGES) {
      if (a === nearest || b === nearest) continue;
      context.moveTo(corners[a][0] * this.scale + this.left, corners[a][1] * this.scale + this.top);
      context.lineTo(corners[b][0] * this.scale + this.left, corners[b][1] * this.scale + this.top);
    }
    context.strokeStyle = css.getPropertyValue("--line");
    context.lineWidth = 1;
    context.stroke();
  }

  drag(dx, dy) { this.turn(dx * PER_PIXEL, dy * PER_PIXEL); }

  /** An arrow turns the map; with Shift it moves it. */
  arrow(dx, dy, event) {
    if (event.shiftKey) this.pan(dx, dy);
    else this.turn(-Math.sign(dx) * PER_KEY, -Math.sign(dy) * PER_KEY);
  }

  reset() {
    this.view = { ...START };
    this.turn();
    this.fit();
  }
}
