// Walks the queue by keyboard, answers tasks in place, and takes rows out of it without loading the page again.
import { notice, send } from "./page.js";

const form = document.getElementById("queue");
const help = document.getElementById("help");
const filters = document.getElementById("filters");
const SAID = "queue said"; // what happened on the page that was taken out whole
const rows = () => [...document.querySelectorAll("table.queue tbody tr")];
const strip = document.getElementById("answering");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let current = null, stoodAt = 0;

// -- where one stands

function stand(row, scroll = true) {
  if (!row) return;
  current?.classList.remove("current");
  current?.removeAttribute("aria-current");
  if (row !== current) {
    stoodAt = performance.now();
    choose(null);
  }
  current = row;
  row.classList.add("current");
  row.setAttribute("aria-current", "true");
  row.querySelector("a.walk").focus({ preventScroll: true });
  if (scroll) row.scrollIntoView({ block: "nearest" });
  try { sessionStorage.setItem(`queue ${location.search}`, row.dataset.item); } catch { /* one begins at the top again */ }
}

function move(step) {
  const all = rows(), place = all.indexOf(current);
  if (place < 0) return stand(all[0]);
  const next = all[place + step];
  if (next) stand(next);
  else if (step > 0 && all.length) notice("This is the last one on this page; n shows the next page.");
}

// -- rows that wait no more

async function leave(gone, fades = true) {
  const all = rows(), stood = current && gone.includes(current);
  const next = all.slice(Math.max(0, all.indexOf(current))).find((row) => !gone.includes(row)) ?? all.findLast((row) => !gone.includes(row));
  const focused = gone.some((row) => row.contains(document.activeElement)) || document.activeElement === document.body;
  if (fades && !still.matches) {
    gone.forEach((row) => row.classList.add("leaving"));
    await Promise.all(gone.map((row) => row.animate({ opacity: [0.4, 0] }, { duration: 250 }).finished.catch(() => {})));
  }
  gone.forEach((row) => row.remove());
  count();
  if (!rows().length) return readAgain();
  if (!stood && (fades || current)) return;
  current = null;
  if (focused || !fades) stand(next);
}

// What was answered elsewhere fades while one looks.
document.addEventListener("changed", async () => {
  const shown = rows().filter((row) => !row.classList.contains("leaving"));
  if (!form || !shown.length) return;
  const asked = new URLSearchParams(shown.map((row) => ["item", row.dataset.item]));
  const state = new URLSearchParams(location.search).get("state");
  if (state) asked.set("state", state);
  const answer = await fetch(`${form.dataset.waiting}?${asked}`, { headers: { Accept: "application/json" } }).catch(() => null);
  if (!answer?.ok) return; // the next change asks again
  const waiting = new Set((await answer.json()).waiting.map(String));
  const gone = shown.filter((row) => row.isConnected && !row.classList.contains("leaving") && !waiting.has(row.dataset.item));
  if (gone.length) leave(gone);
});

// -- what is selected

const boxes = () => [...document.querySelectorAll('table.queue input[name="item"]')];

function count() {
  const chosen = boxes().filter((box) => box.checked).length;
  form.querySelector("button[name=to]").disabled = !chosen; // without a script it is never disabled
  document.getElementById("selected").textContent = chosen ? `${chosen} selected` : "None selected";
  document.getElementById("explained").hidden = !chosen;
  const all = document.getElementById("all");
  all.checked = chosen > 0 && chosen === boxes().length;
  all.indeterminate = chosen > 0 && !all.checked;
}

function select(row) {
  const box = row.querySelector('input[name="item"]');
  box.checked = !box.checked;
  count();
}

// -- out of the queue, or into it again

async function post(url, fields) {
  const answer = await send(url, { body: fields, headers: { Accept: "application/json" } });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail ?? `the service answered ${answer.status}`);
  return said;
}

async function act(button, ids) {
  if (!ids.length) return notice("Select some items first, with x or with the boxes on the left.", "error");
  const leaving = rows().filter((row) => ids.includes(row.dataset.item) && !row.classList.contains("leaving"));
  if (!leaving.length) return; // asked for already: a second answer would say that nothing changed, and take "Undo" away
  const fields = new URLSearchParams([["to", button.value], ...leaving.map((row) => ["item", row.dataset.item])]);
  leaving.forEach((row) => row.classList.add("leaving"));
  try {
    const done = await post(form.action, fields);
    const gone = new Set(done.changed.map(String));
    leaving.forEach((row) => row.classList.remove("leaving"));
    tell(done.said, form.dataset.undo, gone.size ? { id: done.id } : null);
    await leave(rows().filter((row) => gone.has(row.dataset.item)), false);
  } catch (error) {
    leaving.forEach((row) => row.classList.remove("leaving"));
    notice(`Nothing was changed: ${error.message}`, "error");
  }
}

let told = null;  // of what happened last, for a page that is loaded again at once

function tell(said, url, fields) {
  told = [said, url, fields];
  notice(said);
  if (fields !== null) offerUndo(url, fields);
}

function offerUndo(url, fields) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Undo";
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await post(url, new URLSearchParams(fields));
      location.reload();
    } catch (error) {
      notice(`Not undone: ${error.message}`, "error");
    }
  });
  document.querySelector("#notices .notice")?.append(" ", button);
}

// -- answering in place

let labels = [], several = false;
const chosen = new Set();

function choose(place) {
  if (place !== null && !several && !chosen.has(place)) chosen.clear();
  if (place === null) chosen.clear();
  else if (!chosen.delete(place)) chosen.add(place);
  strip?.querySelectorAll("button[data-place]").forEach((button) => button.setAttribute("aria-pressed", chosen.has(Number(button.dataset.place))));
  const submit = document.getElementById("submit-answer");
  if (submit) submit.disabled = !chosen.size || !current;
}

async function submit() {
  if (!current || !chosen.size || current.classList.contains("leaving")) return;
  const row = current, given = [...chosen].sort((a, b) => a - b).map((place) => labels[place]);
  const seconds = ((performance.now() - stoodAt) / 1000).toFixed(1);
  row.classList.add("leaving");
  choose(null);
  stand(rows().slice(rows().indexOf(row)).find((other) => !other.classList.contains("leaving")));
  try {
    const done = await post(strip.dataset.answer, new URLSearchParams([["item", row.dataset.item], ["seconds", seconds], ...given.map((label) => ["label", label])]));
    tell(done.said, strip.dataset.undo, { item: done.item, review: done.review });
    await leave([row]);
  } catch (error) {
    row.classList.remove("leaving");
    notice(`Not answered: ${error.message}`, "error");
    stand(row);
  }
}

async function offerAnswers() {
  const answer = await fetch(strip.dataset.url, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  const may = await answer.json();
  document.getElementById("answering-why").textContent = may.account === null ? may.why : `as ${may.account}`;
  document.getElementById("answering-account")?.toggleAttribute("hidden", may.account !== null);
  if (may.account === null) return;
  ({ labels, several } = may);
  const buttons = labels.map((label, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.place = place;
    button.setAttribute("aria-pressed", "false");
    if (place < 9) button.append(Object.assign(document.createElement("kbd"), { textContent: place + 1 }), " ");
    button.append(Object.assign(document.createElement("bdi"), { textContent: label, className: "short" }));
    button.addEventListener("click", () => {
      if (!current) move(1);
      choose(place);
    });
    return button;
  });
  document.getElementById("choices").replaceChildren(...buttons);
  document.getElementById("submit-answer").hidden = false;
  document.getElementById("submit-answer").addEventListener("click", submit);
  strip.dataset.ready = "";
  choose(null);
}
if (strip) offerAnswers().catch(() => {
  document.getElementById("answering-why").textContent = "Tasks cannot be answered here just now; load the page again to try.";
});

// No bar lies over the row on which one stands.
const bar = document.getElementById("selection");
if (bar) new ResizeObserver(() => document.documentElement.style.setProperty("--selection", `${bar.offsetHeight}px`)).observe(bar);

function readAgain() {
  try { if (told) sessionStorage.setItem(SAID, JSON.stringify(told)); } catch { /* the queue is read again without it */ }
  location.reload();
}

// -- keys and clicks

function stands() {
  if (!current && rows().length) notice("Choose a task first: j goes to the first one.", "error");
  return current;
}

const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  x: () => stands() && select(current),
  o: () => stands() && location.assign(current.querySelector("a.walk").href),
  Enter: () => {
    if (!stands()) return;
    if (chosen.size) submit();
    else if (current.dataset.address) window.open(current.dataset.address, "_blank", "noopener");
    else notice("This item has no task in the labeling tool that can be opened.", "error");
  },
  u: () => {
    if (!form) return;
    const chosen = boxes().filter((box) => box.checked).map((box) => box.value);
    act(form.querySelector("button[name=to]"), chosen.length ? chosen : current ? [current.dataset.item] : []);
  },
  n: () => document.getElementById("next")?.click(),
  "/": () => document.getElementById("search").focus(),
  "?": () => help.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const target = event.target;
  if (target.matches("textarea, select, input:not([type=checkbox])")) return;
  if (event.key === "Enter" && !target.matches("body, a.walk")) return;
  const digit = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : labels.length;
  const act = digit < labels.length ? () => stands() && choose(digit) : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  act(event.submitter ?? form.querySelector("button[name=to]"), boxes().filter((box) => box.checked).map((box) => box.value));
});
form?.addEventListener("change", (event) => {
  if (event.target.id === "all") boxes().forEach((box) => { box.checked = event.target.checked; });
  count();
});
if (form) addEventListener("pageshow", count); // browsers keep boxes checked
form?.addEventListener("focusin", (event) => {
  const row = event.target.closest("tbody tr");
  if (row && event.target.matches("a.walk") && row !== current) stand(row, false);
});
filters.addEventListener("change", () => {
  for (const field of filters.elements) if (field.name && !field.value) field.disabled = true;
  filters.requestSubmit();
});
document.getElementById("help-button").addEventListener("click", () => help.showModal());

// Whoever comes back stands where they were.
try {
  const said = sessionStorage.getItem(SAID);
  sessionStorage.removeItem(SAID);
  if (said) tell(...JSON.parse(said));
  const last = sessionStorage.getItem(`queue ${location.search}`);
  if (last && !location.hash) stand(rows().find((row) => row.dataset.item === last));
} catch { /* one begins at the top */ }

// Whoever is led to a row stands on it.
const led = () => stand(rows().find((row) => location.hash === `#${row.id}`));
addEventListener("hashchange", led);
led();
