/* The map cut into cells, each with the face of its medoid, its count and its leading classes. */

const EXACT = 300; // points of a cell up to which the medoid is sought among all pairs

/** The cells of the shown points, in the order of their rows: {row, column, points, medoid, count, leading: [[class, count]]}. */
export function cut(points, map, side) {
  const cells = new Map();
  for (let i = 0; i < points.count; i++) {
    if (!map.shown[i]) continue;
    const column = Math.min(side - 1, Math.floor((map.x[i] + 0.5) * side)), row = Math.min(side - 1, Math.floor((map.y[i] + 0.5) * side));
    const key = row * side + column;
    const cell = cells.get(key);
    if (cell) cell.push(i); else cells.set(key, [i]);
  }
  return [...cells].sort(([a], [b]) => a - b).map(([key, members]) => ({
    row: Math.floor(key / side), column: key % side, points: members, count: members.reduce((sum, i) => sum + points.standing(i), 0),
    medoid: medoid(map, members), leading: leading(points, members),
  }));
}

/** The point with the least sum of distances to the others; of many, the one nearest to their middle. */
function medoid(map, members) {
  const { x, y } = map;
  let best = members[0], least = Infinity;
  if (members.length > EXACT) {
    let [sumX, sumY] = [0, 0];
    for (const i of members) { sumX += x[i]; sumY += y[i]; }
    const [midX, midY] = [sumX / members.length, sumY / members.length];
    for (const i of members) {
      const away = (x[i] - midX) ** 2 + (y[i] - midY) ** 2;
      if (away < least) { least = away; best = i; }
    }
    return best;
  }
  for (const i of members) {
    let sum = 0;
    for (const j of members) sum += Math.hypot(x[i] - x[j], y[i] - y[j]);
    if (sum < least) { least = sum; best = i; }
  }
  return best;
}

function leading(points, members) {
  const counts = new Map();
  for (const i of members) counts.set(points.label[i], (counts.get(points.label[i]) ?? 0) + points.standing(i));
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([code, n]) => [points.legend.classes[code - 1] ?? (code ? "other classes" : "no label"), n]);
}
