// Small helpers for elements, and the pack's style sheets.
import { app } from "../../../scripts/app.js";

const SHEETS = ["./sweep_grid.css", "./grid_table.css"].map((name) => new URL(name, import.meta.url).href);

export function addStyle() {
  for (const href of SHEETS)
    if (!document.querySelector(`link[href="${href}"]`))
      document.head.append(make("link", { rel: "stylesheet", href }));
}

/** An element; properties, `on...` listeners, `class`, `style` and attributes with a dash or `role` are told apart. */
export function make(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    if (name === "class") made.className = value;
    else if (name === "style") Object.assign(made.style, value);
    else if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const PATHS = {
  play: "M5 3.5v9l7.5-4.5z",
  pause: "M4.5 3.5h2.5v9H4.5zM9 3.5h2.5v9H9z",
  close: "M4.2 3.5 8 7.3l3.8-3.8.7.7L8.7 8l3.8 3.8-.7.7L8 8.7l-3.8 3.8-.7-.7L7.3 8 3.5 4.2z",
};

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", width: 14, height: 14, "aria-hidden": true }))
    svg.setAttribute(key, value);
  path.setAttribute("d", PATHS[name]);
  path.setAttribute("fill", "currentColor");
  svg.append(path);
  return svg;
}

/** What is clicked in here is not for the canvas; its wheel and its middle button are, where nothing is to scroll. */
export function keepEvents(root) {
  const own = ["pointerdown", "pointerup", "mousedown", "dblclick", "contextmenu", "dragstart"];
  const middle = (event) => event.button === 1 || event.buttons === 4;
  for (const kind of own) root.addEventListener(kind, (event) => middle(event) || event.stopPropagation());
  for (const kind of ["pointerdown", "pointermove", "pointerup"])
    root.addEventListener(kind, (event) => middle(event) && forward(root, event));
  root.addEventListener("wheel", (event) => scrolls(event) || forward(root, event), { passive: false });
}

function scrolls(event) {
  if (event.ctrlKey || event.metaKey) return false;
  const part = event.target.closest?.(".s2v-scroll, .s2v-told");
  return part && (part.scrollHeight > part.clientHeight + 1 || part.scrollWidth > part.clientWidth + 1);
}

/** Where nodes are elements, the frontend itself takes these events from all that is in them. */
function forward(root, event) {
  const canvas = app.canvas?.canvas;
  if (!canvas || root.closest(".lg-node-widgets")) return;
  event.preventDefault();
  canvas.dispatchEvent(new event.constructor(event.type, event));
}

/** In frontends (up to 1.35) that draw nodes with elements and give a panel no more than its least height: take what is
 * left of the node. Newer ones do so by themselves. */
export function fillRow(root) {
  const rows = root.closest(".lg-node-widgets");
  const template = rows?.style.gridTemplateRows ?? "";
  if (!template.endsWith("min-content") || template.includes("auto") || !rows.lastElementChild.contains(root)) return;
  rows.style.gridTemplateRows = template.replace(/min-content$/, "auto");
}
