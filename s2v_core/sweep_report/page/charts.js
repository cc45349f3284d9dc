// Beside the cells: the heat-map, the curves and the trade-off of two scores, over all cells whatever is filtered.
const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;

function makeSide() {
  const side = byId("side");
  if (!metrics.some((metric) => metric.count)) {
    side.hidden = true;
    return;
  }
  const charts = { map: ["Heat-map", drawMap], curves: ["Curves", drawCurves], trade: ["Trade-off", drawTrade] };
  const panel = el("div", { role: "tabpanel", id: "panel", tabindex: 0 });
  const tabs = Object.entries(charts).map(([name, [label]]) =>
    el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel", onclick: () => choose(name) }, label));
  const names = Object.keys(charts);
  const list = el("div", { role: "tablist", "aria-label": "Charts", onkeydown: (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    choose(names[(names.indexOf(state.tab) + by + names.length) % names.length]);
    byId(`tab-${state.tab}`).focus();
    event.stopPropagation();
    event.preventDefault();
  } }, tabs);
  function choose(name) {
    state.tab = name;
    changed("tab");
  }
  const show = () => {
    tabs.forEach((tab, number) => {
      tab.setAttribute("aria-selected", names[number] === state.tab);
      tab.tabIndex = names[number] === state.tab ? 0 : -1;
    });
    panel.setAttribute("aria-labelledby", `tab-${state.tab}`);
    panel.replaceChildren(...charts[state.tab][1]().filter(Boolean));
    markCharts();
  };
  side.append(list, panel);
  on("tab metric sides", show);
  on("at", markCharts);
  show();
}

// The cell with the focus is marked in the charts too.
function markCharts() {
  for (const mark of byId("side").querySelectorAll("[data-cells]")) {
    mark.classList.toggle("here", state.at !== null && mark.dataset.cells.split(" ").includes(String(state.at)));
  }
}

function chartHead(metric, more = "") {
  const unit = metric.unit ? `, ${metric.unit}` : "";
  return el("div", { class: "chart-head" },
    el("h3", {}, metric.title, el("span", { class: "dim" }, unit)),
    el("p", { class: "dim" }, [metric.says, `${betterWord(metric)[0].toUpperCase()}${betterWord(metric).slice(1)}.`, more].filter(Boolean).join(" ")));
}

// The innermost axis of each side; every other axis is averaged.
function mapAxes() {
  const many = (side) => [...side].reverse().find((axis) => axes[axis].labels.length > 1);
  return [many(state.rows), many(state.columns)];
}

function averaged(...used) {
  const others = axes.map((axis, number) => [axis, number]).filter(([axis, number]) => !used.includes(number) && axis.labels.length > 1);
  return others.length ? `Mean over ${others.map(([axis]) => `${axis.labels.length} values of ${axis.title}`).join(" and ")}.` : "";
}

function drawMap() {
  const metric = metricOf(state.metric);
  const [down, across] = mapAxes();
  const groups = new Map();
  for (const cell of cells) {
    const key = `${cell.at[down] ?? 0},${cell.at[across] ?? 0}`;
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  const values = new Map();
  for (const [key, list] of groups) {
    const known = list.map((cell) => scoreOf(cell)).filter((value) => value !== null);
    values.set(key, { list, value: known.length ? mean(known) : null, count: known.length });
  }
  const known = [...values.values()].map(({ value }) => value).filter((value) => value !== null);
  const readout = el("p", { class: "readout dim" }, "\u00a0");
  const say = (text) => {
    readout.textContent = text;
  };
  const columns = across === undefined ? [""] : axes[across].labels;
  const rows = down === undefined ? [""] : axes[down].labels;
  const square = ([key, { list, value, count }], words) => {
    const share = shareOf(value);
    const text = value === null ? `none: ${list[0].scores[state.metric].reason}` : `${sayScore(value)}${count > 1 ? `, mean of ${count}` : ""}`;
    return el("button", {
      ...{ type: "button", class: `square${value === null ? " none" : share > 0.72 ? " strong" : ""}`, "data-cells": list.map((cell) => cell.number).join(" ") },
      "aria-label": `${words}: ${text}`,
      style: { "--share": share ?? 0 },
      onclick: () => goTo(list.find(fits) ?? list[0]),
      onfocus: () => say(`${words}: ${text}`),
      onpointerenter: () => say(`${words}: ${text}`),
    }, columns.length <= 8 ? sayScore(value) : "");
  };
  const table = el("table", { class: "map" },
    el("thead", {}, el("tr", {},
      el("th", { class: "map-corner" }, down === undefined ? "" : axes[down].title),
      columns.map((label) => el("th", { scope: "col" }, el("span", {}, label))))),
    el("tbody", {}, rows.map((label, row) => el("tr", {},
      el("th", { scope: "row" }, label),
      columns.map((name, column) => {
        const key = `${row},${column}`;
        const words = [down !== undefined && `${axes[down].title} ${label}`, across !== undefined && `${axes[across].title} ${name}`].filter(Boolean).join(", ");
        return el("td", {}, values.has(key) ? square([key, values.get(key)], words) : null);
      })))));
  table.style.setProperty("--columns", columns.length);
  const ends = known.length ? [Math.min(...known), Math.max(...known)] : null;
  const legend = ends && el("div", { class: "legend" }, el("span", {}, sayScore(metric.direction === "lower" ? ends[1] : ends[0])),
    el("i", { class: "ramp" }), el("span", {}, sayScore(metric.direction === "lower" ? ends[0] : ends[1])),
    el("span", { class: "dim" }, metric.direction === "neutral" && metric.ideal === null ? "" : "stronger is better"));
  return [chartHead(metric, averaged(down, across)), across === undefined ? null : el("p", { class: "map-title" }, axes[across].title), table, legend, readout];
}

// Round numbers for an axis: about `count` of them from low to high.
function ticks(low, high, count = 4) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough) ?? rough;
  const found = [];
  for (let at = Math.ceil(low / size - 1e-9) * size; at <= high + size * 1e-9; at += size) found.push(Math.abs(at) < size * 1e-9 ? 0 : at);
  return found;
}

// The same with texts, all with as many digits as one of them needs.
function sayTicks(values) {
  const largest = Math.max(...values.map(Math.abs));
  if (largest < 1e-3) return values.map((value) => [value, minus(value.toPrecision(2))]);
  const digits = Math.max(0, ...values.map((value) => (Number(value.toFixed(4)).toString().split(".")[1] ?? "").length));
  return values.map((value) => [value, minus(value.toFixed(digits))]);
}

// The frame of a chart: a scale for each side, lines and labels. `places`: [[x, text], ...] below.
const CHART = { width: 372, height: 250, left: 46, right: 14, top: 12, bottom: 38 };
function frameOfChart({ xs, ys, places, title, xTitle, tail = 0 }) {
  const { width, height, left, top, bottom } = CHART;
  const right = CHART.right + tail;
  const [x0, x1] = xs;
  const [y0, y1] = ys;
  const x = (value) => left + ((value - x0) / (x1 - x0 || 1)) * (width - left - right);
  const y = (value) => height - bottom - ((value - y0) / (y1 - y0 || 1)) * (height - top - bottom);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": title });
  for (const [level, text] of sayTicks(ticks(y0, y1))) {
    root.append(
      svg("line", { class: "rule", x1: left, x2: width - right, y1: y(level), y2: y(level) }),
      svg("text", { x: left - 8, y: y(level) + 4, "text-anchor": "end" }, text),
    );
  }
  for (const [at, text] of places) root.append(svg("text", { x: x(at), y: height - bottom + 17, "text-anchor": "middle" }, text));
  root.append(svg("text", { class: "axis-title", x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, xTitle));
  return { root, x, y };
}

function padded(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}
