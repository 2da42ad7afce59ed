/* How each way of colouring codes the points of a map: {codes, styles}; a style's label makes the legend. */
import { KIND_NAMES, SHAPE_NAMES } from "./shared/markers.js";

const SERIES = 8, MOST = SERIES * SHAPE_NAMES.length;
const TRAINING = { label: "training", colour: "--training", shape: "circle", faint: true };
const REST = { colour: "--failed", shape: "circle" };
const SHAPES = { auto: "circle", uncertain: "triangle", outlier: "diamond", failed: "square", "spot check": "square" };
const STEPS = [[0, "below 50%"], [0.5, "50% to 80%"], [0.8, "80% to 95%"], [0.95, "95% to 99%"], [0.99, "99% and above"]];

const series = (place) => ({ colour: `--series-${place % SERIES}`, shape: SHAPE_NAMES[Math.floor(place / SERIES) % SHAPE_NAMES.length] });

/** By name; "class" also tells training items apart, which are faint. */
export const COLOURINGS = {
  route: (points) => ({
    codes: points.route,
    styles: points.legend.routes.map((route, code) => (code ? { label: KIND_NAMES[route], colour: route === "spot check" ? "--failed" : `--${route}`, shape: SHAPES[route] } : TRAINING)),
  }),
  class: (points) => {
    const { place, styles } = mostFrequent(points.label, (code) => points.legend.classes[code - 1] ?? "(no label)", "other classes");
    const whole = styles.flatMap((style) => [{ ...style, faint: true }, style]);
    return { codes: each(points, (i) => 2 * place[points.label[i]] + (points.route[i] ? 1 : 0)), styles: whole };
  },
  dataset: (points) => {
    const { place, styles } = mostFrequent(points.dataset, (code) => points.legend.datasets[code - 1]?.name ?? "(none)", "other datasets", points.route);
    return { codes: each(points, (i) => (points.route[i] ? place[points.dataset[i]] + 1 : 0)), styles: [TRAINING, ...styles] };
  },
  score: (points) => {
    const edges = [-1, ...points.legend.score_edges]; // the lower end of each code from 1 on
    const step = Uint8Array.from({ length: 256 }, (_, code) => (code ? STEPS.filter(([least]) => (edges[code - 1] ?? 1) >= least - 1e-9).length || 1 : 0));
    return {
      codes: each(points, (i) => step[points.score[i]]),
      styles: [{ ...TRAINING, label: "no score (training)" }, ...STEPS.map(([, label], k) => ({ label, colour: `--ramp-${k}`, shape: "circle" }))],
    };
  },
  axis_class: (points) => axis(points, (code) => code & 15),
  axis_source: (points) => axis(points, (code) => code >> 4),
  group: (points) => {
    const known = points.legend.groups.slice(0, MOST);
    const place = new Uint8Array(256).fill(1);
    known.forEach(({ number }, k) => { place[number] = k + 2; });
    return {
      codes: each(points, (i) => (points.route[i] === 0 ? 0 : points.group[i] ? place[points.group[i]] : 1)),
      styles: [TRAINING, { ...REST, label: "in no group", faint: true }, ...known.map(({ number }, k) => ({ label: `group ${number}`, ...series(k) }))],
    };
  },
};

/** One axis by the steps of the outlier score. code: of a point's byte, which holds both. */
function axis(points, code) {
  return {
    codes: each(points, (i) => code(points.axes[i])),
    styles: [{ ...TRAINING, label: "not measured (training)" }, ...STEPS.map(([, label], k) => ({ label, colour: `--ramp-${k}`, shape: "circle" }))],
  };
}

function each(points, code) {
  const codes = new Uint8Array(points.count);
  for (let i = 0; i < points.count; i++) codes[i] = code(i);
  return codes;
}

/** Styles for the codes of a column that occur most, and for each code its place among them. among: where it is 0, a point is not counted. */
function mostFrequent(column, label, others, among = null) {
  const counts = new Uint32Array(256), place = new Uint8Array(256);
  for (let i = 0; i < column.length; i++) if (!among || among[i]) counts[column[i]]++;
  const used = [...counts.keys()].filter((code) => counts[code]).sort((a, b) => counts[b] - counts[a]);
  const kept = used.slice(0, MOST).sort((a, b) => a - b);
  place.fill(kept.length);
  kept.forEach((code, k) => { place[code] = k; });
  return { place, styles: [...kept.map((code, k) => ({ label: label(code), ...series(k) })), { label: others, ...REST }] };
}
