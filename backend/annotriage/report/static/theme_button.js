/* The button that changes between light and dark, for pages that open from a file. theme.js runs before it. */
import { byId } from "./elements.js";

/** The button that changes between light and dark; theme.js has set the first one, and the system decides until a person does. */
export function theme() {
  const root = document.documentElement, button = byId("theme");
  const wear = (name) => {
    root.dataset.theme = name;
    button.textContent = name === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Change to ${name === "dark" ? "light" : "dark"} colours`);
    dispatchEvent(new Event("themechange"));
  };
  button.addEventListener("click", () => {
    wear(root.dataset.theme === "dark" ? "light" : "dark");
    try { localStorage.setItem("annotriage-theme", root.dataset.theme); } catch { /* not kept, still changed */ }
  });
  systemDark.addEventListener("change", () => { if (!chosenTheme()) wear(systemDark.matches ? "dark" : "light"); });
  wear(root.dataset.theme);
}
