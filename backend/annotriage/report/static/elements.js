/* What the scripts of the report and of the map's page build their elements with. Text from data is only ever set as text. */

export const byId = (id) => document.getElementById(id);
export const number = new Intl.NumberFormat("en");

/** An element with its attributes and children; strings become text nodes, never markup. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}
