// Runs before the first paint: tells the CSS that scripts are there, and sets the theme chosen last time, else the system's.
const chosenTheme = () => {
  try { return localStorage.getItem("annotriage-theme"); } catch { return null; }
};
const systemDark = matchMedia("(prefers-color-scheme: dark)");
document.documentElement.classList.add("scripted");
document.documentElement.dataset.theme = chosenTheme() ?? (systemDark.matches ? "dark" : "light");
