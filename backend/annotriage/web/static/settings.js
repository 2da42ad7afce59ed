// The settings' page: shows what the values in the form would do, while they are being changed.
const form = document.getElementById("settings");
let timer = 0, asked = null;

async function show() {
  asked?.abort();
  asked = new AbortController();
  const values = new URLSearchParams(new FormData(form));
  values.delete("csrf");
  const box = document.getElementById("preview");
  box.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(`${form.dataset.preview}?${values}`, { signal: asked.signal, headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("preview");
    if (fresh) box.replaceChildren(...fresh.childNodes);
    else box.textContent = "This could not be counted just now. Change a value to try again.";
  } catch (error) {
    if (error.name === "AbortError") return;
    box.textContent = "The service does not answer. Change a value to try again.";
  }
  box.removeAttribute("aria-busy");
}

form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(show, 250);
});
// What the server counted for the values in the address, or found wrong with them, stays until a value is changed.
if (document.querySelector("#preview .needs-script")) show();
