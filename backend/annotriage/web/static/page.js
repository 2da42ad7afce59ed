// On every page: the theme's switch, and forms that ask before they do something.
const theme = document.getElementById("theme");
theme?.addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("annotriage-theme", root.dataset.theme); } catch { /* it holds until the page is left */ }
});

// A fetch that may change something: carries the session's token.
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
