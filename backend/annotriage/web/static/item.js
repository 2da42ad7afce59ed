// The item's page: walks on by keyboard, and falls back to the small picture where the full one cannot be had.
import { notice } from "./page.js";
import { viewerOf } from "./viewer.js";

const walk = document.getElementById("walk");
const media = document.getElementById("media");
const problem = document.getElementById("media-problem");

async function fallBack() {
  const source = media.src;
  if (media.dataset.thumbnail) {
    media.classList.add("small-picture");
    media.src = media.dataset.thumbnail;
    delete media.dataset.thumbnail;
  } else {
    media.hidden = true;
    document.getElementById("enlarge").hidden = true;
  }
  let why = "its picture cannot be shown.";
  try {
    const answer = await fetch(source, { headers: { Accept: "application/json" } });
    why = answer.ok ? "your browser cannot show this picture." : (await answer.json()).detail;
  } catch { /* what is said above has to do */ }
  problem.textContent = `${media.hidden ? "No picture" : "Only the small picture"}: ${why}`;
  problem.hidden = false;
}

if (media.complete && !media.naturalWidth) fallBack();
else media.addEventListener("error", fallBack, { once: true });
media.addEventListener("load", () => { if (media.naturalWidth && media.naturalWidth <= 128) media.classList.add("small-picture"); });
if (media.complete && media.naturalWidth && media.naturalWidth <= 128) media.classList.add("small-picture");

const enlarge = viewerOf(media);
document.getElementById("enlarge").addEventListener("click", enlarge);
media.addEventListener("click", enlarge);

const go = (id, otherwise) => {
  const link = document.getElementById(id);
  if (link) location.assign(link.href);
  else notice(otherwise);
};
const KEYS = {
  j: () => go("behind", "This is the last one of the queue."), ArrowRight: () => go("behind", "This is the last one of the queue."),
  k: () => go("before", "This is the first one of the queue."), ArrowLeft: () => go("before", "This is the first one of the queue."),
  u: () => document.querySelector("#reroute button")?.click(),
  q: () => location.assign(walk.dataset.queue),
  f: enlarge, "+": enlarge,
  Enter: () => walk.dataset.address && window.open(walk.dataset.address, "_blank", "noopener"),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (event.key === "Enter" && event.target !== document.body) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
