// Keeps the parts of a page that are marked `data-live` up to date: asks every few seconds whether anything changed since the page
// was made, and if so fetches the page (or the address that the part names) again and replaces them. Pauses while the page is hidden
// or a part is in use.
const script = document.querySelector("script[data-changes]");
const EVERY = 3000, AFTER_ERROR = 15000;
let mark = document.querySelector('meta[name="mark"]')?.content, timer = 0;

export function inUse(part) {
  const focused = document.activeElement;
  const typing = part.contains(focused) && focused.matches("input, select, textarea");
  return typing || part.querySelector("details.pause[open], dialog[open]") !== null;
}

/** What somebody has filled in and not sent yet, of fields that are found again by their ids. */
function filledIn(part) {
  const before = (field) => field.options ? ([...field.options].find((one) => one.defaultSelected) ?? field.options[0])?.value : field.defaultValue;
  const touched = (field) => field.type === "checkbox" ? field.checked !== field.defaultChecked : field.value !== before(field);
  return [...part.querySelectorAll("input[id], select[id], textarea[id]")].filter(touched).map(({ id, value, checked }) => ({ id, value, checked }));
}

/** Replace what changed; whether all of it could be. */
async function refresh() {
  let whole = true;
  const parts = [...document.querySelectorAll("[data-live]")];
  const pages = new Map();
  for (const part of parts) {
    const url = part.dataset.live || location.href;
    if (!pages.has(url)) {
      const answer = await fetch(url, { headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) throw new Error(`${answer.status}`);
      pages.set(url, new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
    const fresh = pages.get(url).getElementById(part.id);
    if (!fresh || fresh.innerHTML === part.innerHTML) continue;
    if (inUse(part)) { whole = false; continue; }
    const open = [...part.querySelectorAll("details[open][id]")].map((one) => one.id);
    const focus = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") ?? document.activeElement.id : null;
    const filled = filledIn(part);
    part.replaceChildren(...fresh.childNodes);
    for (const { id, ...values } of filled) Object.assign(part.querySelector(`[id="${CSS.escape(id)}"]`) ?? {}, values);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focus) part.querySelector(`[href="${CSS.escape(focus)}"], [id="${CSS.escape(focus)}"]`)?.focus();
    part.dispatchEvent(new CustomEvent("refreshed", { bubbles: true }));
  }
  return whole;
}

async function look() {
  let wait = EVERY;
  try {
    if (!document.hidden) {
      const answer = await fetch(script.dataset.changes, { headers: { Accept: "application/json" } });
      if (answer.status === 401) return;
      if (!answer.ok) throw new Error(`${answer.status}`);
      const { mark: now } = await answer.json();
      if (now !== mark) {
        if (await refresh()) mark = now; // a part in use is replaced once it is not
        document.dispatchEvent(new Event("changed"));
      }
    }
    document.documentElement.removeAttribute("data-stale");
  } catch {
    wait = AFTER_ERROR;
    document.documentElement.setAttribute("data-stale", "");
  }
  clearTimeout(timer);
  timer = setTimeout(look, wait);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
if (script) look();
