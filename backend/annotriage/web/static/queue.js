// Walks the queue by keyboard, and takes rows out of it without loading the page again.
import { notice, send } from "./page.js";

const form = document.getElementById("queue");
const help = document.getElementById("help");
const filters = document.getElementById("filters");
const SAID = "queue said"; // what happened on the page that was taken out whole
const rows = () => [...document.querySelectorAll("table.queue tbody tr")];
let current = null;

// -- where one stands

function stand(row, scroll = true) {
  if (!row) return;
  current?.classList.remove("current");
  current?.removeAttribute("aria-current");
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

// -- what is selected

const boxes = () => [...document.querySelectorAll('table.queue input[name="item"]')];

function count() {
  const chosen = boxes().filter((box) => box.checked).length;
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
    const all = rows();
    const stays = (row) => !gone.has(row.dataset.item);
    const next = all.slice(Math.max(0, all.indexOf(current))).find(stays) ?? all.findLast(stays);
    all.filter((row) => gone.has(row.dataset.item)).forEach((row) => row.remove());
    leaving.forEach((row) => row.classList.remove("leaving"));
    count();
    tell(done.said, gone.size ? done.id : null, form.dataset.undo);
    if (next) return stand(next, false);
    try { sessionStorage.setItem(SAID, JSON.stringify([done.said, done.id, form.dataset.undo])); } catch { /* the queue is read again without it */ }
    location.reload();
  } catch (error) {
    leaving.forEach((row) => row.classList.remove("leaving"));
    notice(`Nothing was changed: ${error.message}`, "error");
  }
}

function tell(said, id, undo) {
  notice(said);
  if (id !== null) offerUndo(id, undo);
}

function offerUndo(id, undo) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Undo";
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await post(undo, new URLSearchParams({ id }));
      location.reload();
    } catch (error) {
      notice(`Not undone: ${error.message}`, "error");
    }
  });
  document.querySelector("#notices .notice")?.append(" ", button);
}

// -- keys and clicks

const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  x: () => current && select(current),
  o: () => current && location.assign(current.querySelector("a.walk").href),
  Enter: () => {
    if (!current) return;
    if (current.dataset.address) window.open(current.dataset.address, "_blank", "noopener");
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
  const act = KEYS[event.key];
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
  if (last) stand(rows().find((row) => row.dataset.item === last));
} catch { /* one begins at the top */ }
