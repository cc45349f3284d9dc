// What stands above the cells: which score, in which order, which cells, and how they are laid out.
const press = (label, pressed, click, attributes = {}) =>
  el("button", { type: "button", "aria-pressed": pressed, onclick: click, ...attributes }, label);

function menu(label, ...children) {
  const details = el("details", { class: "menu" }, el("summary", {}, label), el("div", { class: "sheet" }, children));
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !details.open) return;
    details.open = false;
    details.firstElementChild.focus();
    event.stopPropagation();
  });
  return details;
}

function makeTools() {
  const place = byId("tools");
  const score = metrics.length
    ? choice("Score", metrics.map((metric) => [metric.name, metric.count ? metric.title : `${metric.title} (no values)`]), state.metric, setMetric, { id: "metric", title: "The next score: M" })
    : null;
  const orders = [["axes", "along the axes"], ...(metrics.length ? [["best", "best first"], ["worst", "worst first"]] : [])];
  const order = choice("Order", [...orders, ...axes.map((axis, number) => [number, `by ${axis.title}`])], state.order, (value) => {
    state.order = value;
    changed("order");
  }, { id: "order" });
  const chips = axes.map((axis, number) => (axis.labels.length > 1 ? chipsOf(axis, number) : null));
  place.append(...[score, order, filterMenu(), layoutMenu(), ...inputTools()].filter(Boolean));
  byId("count").before(el("div", { class: "chip-rows" }, chips));
  document.addEventListener("pointerdown", (event) => {
    for (const open of document.querySelectorAll("details.menu[open]")) if (!open.contains(event.target)) open.open = false;
  });
  on("metric", () => {
    byId("metric").value = state.metric;
    showEmpty();
  });
  showEmpty();
}

function setMetric(name) {
  state.metric = name;
  changed("metric");
}

function nextMetric() {
  const there = metrics.filter((metric) => metric.count);
  if (!there.length) return;
  setMetric(there[(there.findIndex((metric) => metric.name === state.metric) + 1) % there.length].name);
  announce(`Score: ${metricOf(state.metric).title}`);
}

function chipsOf(axis, number) {
  const buttons = axis.labels.map((label, value) => press(label, true, () => toggleValue(number, value), { title: label }));
  const all = el("button", { type: "button", class: "quiet", onclick: () => {
    state.hidden[number].clear();
    changed("shown");
  } }, "all");
  const row = el("div", { class: "chips", role: "group", "aria-label": `Values of ${axis.title} that are shown` },
    el("span", { class: "chips-name" }, axis.title), buttons, all);
  const show = () => {
    const some = state.hidden[number].size > 0;
    row.classList.toggle("some", some);
    all.hidden = !some;
    buttons.forEach((button, value) => button.setAttribute("aria-pressed", !state.hidden[number].has(value)));
  };
  on("shown", show);
  show();
  return row;
}

function filterMenu() {
  const field = (label, held) => {
    const input = el("input", { type: "number", step: "any", "aria-label": label, oninput: () => {
      if (input.value === "" || Number.isNaN(input.valueAsNumber)) held.delete(state.metric);
      else held.set(state.metric, input.valueAsNumber);
      changed("shown");
    } });
    const show = () => {
      const range = rangeOf.get(state.metric);
      input.placeholder = range ? sayScore(range[held === state.least ? 0 : 1]) : "";
      input.disabled = !range;
      if (document.activeElement !== input) input.value = held.get(state.metric) ?? "";
    };
    on("metric shown", show);
    show();
    return el("label", { class: "field" }, el("span", {}, label), input);
  };
  const title = el("p", { class: "menu-title" });
  const others = el("p", { class: "dim" });
  const front = facts.front.length
    ? el("label", { class: "check" }, el("input", { type: "checkbox", onchange: (event) => {
        state.front = event.target.checked;
        changed("shown");
      } }), "only cells that no other one beats")
    : null;
  const made = menu("Filter",
    ...(metrics.length ? [title, el("div", { class: "pair" }, field("at least", state.least), field("at most", state.most)), others] : []),
    front, el("button", { type: "button", onclick: clearFilters }, "Show all cells"));
  const show = () => {
    title.textContent = metricOf(state.metric)?.title ?? "";
    const names = [...new Set([...state.least.keys(), ...state.most.keys()])].filter((name) => name !== state.metric);
    others.textContent = names.length ? `Also filtered: ${names.map((name) => metricOf(name).title).join(", ")}` : "";
    if (front) front.firstElementChild.checked = state.front;
    made.classList.toggle("active", filtered());
  };
  on("metric shown", show);
  show();
  return made;
}

function layoutMenu() {
  if (axes.length < 2) return null;
  const rows = axes.map((axis, number) => {
    const side = (name, label) => press(label, false, () => {
      for (const key of ["rows", "columns"]) state[key] = state[key].filter((one) => one !== number);
      state[name] = [...state[name], number];
      changed("sides");
    });
    const [row, column] = [side("rows", "rows"), side("columns", "columns")];
    const show = () => {
      row.setAttribute("aria-pressed", state.rows.includes(number));
      column.setAttribute("aria-pressed", state.columns.includes(number));
    };
    on("sides", show);
    show();
    return el("div", { class: "layout-row", role: "group", "aria-label": axis.title }, el("span", {}, axis.title), row, column);
  });
  const swap = el("button", { type: "button", onclick: () => {
    [state.rows, state.columns] = [state.columns, state.rows];
    changed("sides");
  } }, "Exchange rows and columns");
  return menu("Layout", rows, swap);
}

function inputTools() {
  if (!facts.inputs.length) return [];
  const place = byId("inputs");
  const shown = press("Inputs", true, () => {
    place.hidden = !place.hidden;
    shown.setAttribute("aria-pressed", !place.hidden);
    changed("inputs");
  }, { title: "Control video and references above the cells (I)", id: "show-inputs" });
  if (!cells.some((cell) => cell.clip && overlayOf(cell))) return [shown];
  const laid = press("Overlay", false, () => {
    overlaid = !overlaid;
    laid.setAttribute("aria-pressed", overlaid);
    changed("overlay");
  }, { title: "Lay the control video over every cell (O)", id: "show-overlay" });
  return [shown, laid];
}

// Why a score has no value, said once for all cells with the same reason.
function showEmpty() {
  const reasons = new Map();
  for (const cell of cells) {
    const score = cell.scores[state.metric];
    if (score && score.value === null) reasons.set(score.reason, [...(reasons.get(score.reason) ?? []), cell]);
  }
  byId("why-empty").replaceChildren(
    ...[...reasons].slice(0, 3).map(([reason, list]) =>
      el("p", { class: "banner" }, `${metricOf(state.metric).title} has no value ` +
        `${list.length === cells.length ? "for any cell" : `for ${list.length} of ${cells.length} cells`}: ${reason}`)),
  );
}
