// Keys for everything, the theme, and the beginning.
const KEYS = [
  ["Space", "play or pause", () => play()],
  [",", "one frame back", () => step(-1)],
  [".", "one frame on", () => step(1)],
  ["0", "first frame", () => seek(0)],
  ["[", "slower", () => changeSpeed(-1)],
  ["]", "faster", () => changeSpeed(1)],
  ["L", "loop or stop at the end", () => document.querySelector(".transport-loop").click()],
  ["G", "to the cells", () => goTo(cells[state.at] && fits(cells[state.at]) ? cells[state.at] : (shownCells()[0] ?? cells[0]))],
  ["Arrows", "from cell to cell; Home and End within a row"],
  ["Enter", "large view, scores and settings of the cell"],
  ["C", "pick the cell to compare; a second one opens the comparison", () => withCell(toggleCompare)],
  ["M", "next score", () => nextMetric()],
  ["S", "along the axes, or best first", () => toggleOrder()],
  ["F", "filter", () => openFilter()],
  ["I", "inputs on or off", () => byId("show-inputs")?.click()],
  ["O", "control video over the cells", () => byId("show-overlay")?.click()],
  ["T", "light, dark or as the system", () => nextTheme()],
  ["?", "these keys", () => openKeys()],
  ["Esc", "close what is open", () => closeDetails()],
];
const actions = new Map(KEYS.filter(([, , act]) => act).map(([key, , act]) => [key === "Space" ? " " : key === "Esc" ? "escape" : key.toLowerCase(), act]));

const withCell = (act) => {
  const cell = drawer.cell ?? (document.activeElement?.closest?.(".cell") ? cells[state.at] : null);
  if (cell) act(cell);
  else announce("Choose a cell first: G goes to the cells.");
};

function toggleOrder() {
  state.order = state.order === "axes" && metrics.length ? "best" : "axes";
  byId("order").value = state.order;
  changed("order");
}

function openFilter() {
  const filter = [...document.querySelectorAll("details.menu")].find((one) => one.firstElementChild.textContent === "Filter");
  filter.open = true;
  (filter.querySelector("input:not(:disabled)") ?? filter.firstElementChild).focus();
}

function openKeys() {
  const dialog = byId("keys");
  if (dialog.open) return dialog.close();
  dialog.replaceChildren(
    el("header", {}, el("h2", { id: "keys-title" }, "Keyboard shortcuts"),
      el("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => dialog.close() }, icon(ICONS.close))),
    el("dl", {}, KEYS.map(([key, words]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, words)))));
  return dialog.showModal();
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const { target } = event;
  const typing = target.matches("input:not([type=range], [type=checkbox]), select, textarea");
  if (typing && event.key !== "Escape") return;
  const modal = document.querySelector("dialog[open]");
  if (event.key === "Enter" && target.matches(".cell")) {
    target.click();
    event.preventDefault();
    return;
  }
  if (!modal && (event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End")) {
    if (target.matches(".cell") && moveFocus(event.key)) event.preventDefault();
    return;
  }
  // A button keeps its own space bar, but for a cell's.
  if (event.key === " " && target.matches("button, summary, input, a")) return;
  // In a dialog only what concerns the playing; the browser closes it by Esc.
  if (modal && ![" ", ",", ".", "0", "[", "]", "l", "?"].includes(event.key.toLowerCase())) return;
  const act = actions.get(event.key.toLowerCase());
  if (!act) return;
  act();
  event.preventDefault();
});

const THEMES = ["system", "light", "dark"];
function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `Theme: ${theme}`;
  kept.set("theme", theme);
}
const themeNow = () => document.documentElement.dataset.theme ?? "system";
function nextTheme() {
  setTheme(THEMES[(THEMES.indexOf(themeNow()) + 1) % THEMES.length]);
  announce(byId("theme").textContent);
}

function makeAdvice() {
  const canvas = byId("advice");
  if (!canvas) return;
  const cell = cells[facts.recommended[0]];
  byId("advice-open").addEventListener("click", () => {
    openDetails(cell);
    drawer.back = byId("advice-open");
  });
  if (!cell.clip) {
    canvas.hidden = true;
    return;
  }
  [canvas.width, canvas.height] = cell.clip.tile;
  const draw = () => {
    inView.add(cell.clip.sheet);
    drawSheet(canvas.getContext("2d"), cell.clip, state.frame, draw);
  };
  on("frame", draw);
  draw();
}

const theme = kept.get("theme");
if (THEMES.includes(theme)) setTheme(theme);
byId("theme").addEventListener("click", nextTheme);
byId("help").addEventListener("click", openKeys);
startFilters();
startCurves();
makeTools();
makeInputs();
makeAdvice();
showCells();
makeSide();
makeTransport();
