/* How points look: a style is {colour: "--css-variable", shape, faint}. Drawn for legends as small canvases, for maps as stamps of pixels. */

const SHAPES = {
  circle: (r) => { const p = new Path2D(); p.arc(0, 0, r, 0, 7); return p; },
  triangle: (r) => new Path2D(`M0 ${-1.25 * r} L${1.2 * r} ${0.9 * r} L${-1.2 * r} ${0.9 * r} Z`),
  diamond: (r) => new Path2D(`M0 ${-1.35 * r} L${1.35 * r} 0 L0 ${1.35 * r} L${-1.35 * r} 0 Z`),
  square: (r) => new Path2D(`M${-r} ${-r} H${r} V${r} H${-r} Z`),
};
export const SHAPE_NAMES = Object.keys(SHAPES);

/** What people call the kinds of points, as advice/route_words.py has them. */
export const KIND_NAMES = { training: "training", auto: "automatic", uncertain: "unsure", outlier: "strange", failed: "unreadable", "spot check": "spot check" };

/** The marker of a style as a small picture for a legend. */
export function marker(style, host, size = 14) {
  const canvas = document.createElement("canvas");
  const ratio = Math.max(devicePixelRatio, 2);
  canvas.width = canvas.height = size * ratio;
  canvas.style.width = canvas.style.height = `${size}px`;
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.translate(size / 2, size / 2);
  context.fillStyle = getComputedStyle(host).getPropertyValue(style.colour);
  context.fill(SHAPES[style.shape](size * 0.32));
  return canvas;
}

/** For each style its marker as pixels, as offsets from its middle in a picture of `rowLength`: solid pixels are copied, soft ones blended.
 *  radius: in CSS pixels, times `ratio` in the picture. css: the computed style that holds the colours. fade: how much of the paper there is
 *  in each colour. Also returns the paper's colour. */
export function makeStamps(styles, radius, ratio, rowLength, css, fade = 0) {
  const size = 2 * Math.ceil(radius * 1.5 * ratio + 2) + 1, half = (size - 1) / 2;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const read = () => new Uint32Array(context.getImageData(0, 0, size, size).data.buffer);

  context.fillStyle = css.getPropertyValue("--paper");
  context.fillRect(0, 0, size, size);
  const [paper] = read();

  const stamps = styles.map(({ colour, shape, faint }) => {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, size, size);
    context.setTransform(ratio, 0, 0, ratio, size / 2, size / 2);
    const path = SHAPES[shape](faint ? radius * 0.8 : radius);
    if (!faint) {
      context.lineWidth = 1.5;
      context.strokeStyle = css.getPropertyValue("--paper");
      context.stroke(path);
    }
    context.fillStyle = css.getPropertyValue(colour);
    context.fill(path);
    if (fade) {
      context.globalCompositeOperation = "source-atop";
      context.globalAlpha = fade;
      context.fillStyle = css.getPropertyValue("--paper");
      context.fill(path);
      context.globalAlpha = 1;
      context.globalCompositeOperation = "source-over";
    }

    const solid = [], solidColour = [], soft = [], softColour = [], softAlpha = [];
    read().forEach((pixel, k) => {
      const alpha = pixel >>> 24, offset = (Math.floor(k / size) - half) * rowLength + (k % size) - half;
      if (alpha > 250) { solid.push(offset); solidColour.push(pixel); }
      else if (alpha > 8) { soft.push(offset); softColour.push(pixel); softAlpha.push(alpha); }
    });
    const inked = solidColour.length ? solidColour[solidColour.length >> 1] : paper;
    return {
      half, colour: inked,
      solid: Int32Array.from(solid), solidColour: Uint32Array.from(solidColour),
      soft: Int32Array.from(soft), softColour: Uint32Array.from(softColour), softAlpha: Uint16Array.from(softAlpha),
    };
  });
  return { stamps, paper };
}
