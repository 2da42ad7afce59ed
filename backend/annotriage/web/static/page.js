// On every page: the theme's switch, pictures that are not there, charts as PNG, and what other modules share.
document.getElementById("theme")?.addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  dispatchEvent(new Event("themechange"));
  try { localStorage.setItem("annotriage-theme", root.dataset.theme); } catch { /* it holds until the page is left */ }
});

// A fetch that changes something: carries the session's token.
export function send(url, options = {}) {
  const token = document.querySelector('meta[name="csrf"]').content;
  return fetch(url, { method: "POST", ...options, headers: { "X-CSRF-Token": token, ...options.headers } });
}

// A message for everybody, also for those who hear the page.
export function notice(text, kind = "done") {
  const line = document.createElement("p");
  line.className = `notice notice-${kind}`;
  line.textContent = text;
  document.getElementById("notices").replaceChildren(line);
}

function withoutPicture(image) {
  const box = document.createElement("span");
  box.className = "no-picture thumbnail";
  box.textContent = "no picture";
  box.style.width = `${image.width}px`;
  box.style.height = `${image.height}px`;
  image.replaceWith(box);
}
const missing = (image) => image.complete && image.naturalWidth === 0 && image.getAttribute("loading") !== "lazy";
document.querySelectorAll("img.thumbnail").forEach((image) => { if (missing(image)) withoutPicture(image); });
document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement && event.target.matches(".thumbnail")) withoutPicture(event.target);
}, true);

// A chart as a picture: its styles are written into a copy, which is then drawn at twice its size.
const KEPT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "font-size", "font-family", "font-weight", "text-anchor", "opacity"];

export async function pictureOf(svg) {
  const copy = svg.cloneNode(true), box = svg.getBoundingClientRect();
  const pairs = [[svg, copy], ...[...svg.querySelectorAll("*")].map((one, place) => [one, copy.querySelectorAll("*")[place]])];
  for (const [from, to] of pairs) {
    const style = getComputedStyle(from);
    to.setAttribute("style", KEPT.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  }
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", box.width);
  copy.setAttribute("height", box.height);
  const image = new Image();
  const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
  try {
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = 2 * box.width;
    canvas.height = 2 * box.height;
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--paper");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((done) => canvas.toBlob(done, "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.(".save-png");
  if (!button) return;
  const figure = button.closest("section").querySelector("[data-png]");
  save(await pictureOf(figure.querySelector("svg")), `${figure.dataset.png}.png`);
});

// What takes a few seconds says so at once.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("[data-busy]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  link.textContent = link.dataset.busy;
  link.setAttribute("aria-busy", "true");
  notice(link.dataset.busy);
});
