// What every part of the page uses: the facts, the state, elements, numbers in words.
const facts = JSON.parse(document.getElementById("facts").textContent);
const { axes, cells, metrics } = facts;
const byId = (id) => document.getElementById(id);
const metricOf = (name) => metrics.find((metric) => metric.name === name);

const state = {
  frame: 0,
  metric: (metrics.find((metric) => metric.name === facts.frontMetrics[0]) ?? metrics.find((metric) => metric.count) ?? metrics[0])?.name ?? "",
  order: "axes", // or "score", "worst", or the number of an axis
  rows: facts.rows,
  columns: facts.columns,
  hidden: axes.map(() => new Set()), // values of each axis that are filtered out
  least: new Map(), // metric -> smallest value that is shown
  most: new Map(),
  front: false, // only cells that no other one beats
  compare: [],
  at: null, // the cell that has or had the focus
  tab: "map",
};

// Whoever shows the state says what depends on it; whoever changes it says what changed.
const listeners = new Map();
const on = (what, listener) => {
  for (const name of what.split(" ")) listeners.set(name, [...(listeners.get(name) ?? []), listener]);
};
const changed = (...what) => {
  const waiting = new Set(what.flatMap((name) => listeners.get(name) ?? []));
  for (const listener of waiting) listener();
};

// An element with attributes, listeners (onclick: ...) and children; texts stay texts.
function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}
function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("aria-") && typeof value === "boolean") element.setAttribute(name, String(value));
    else if (value === null || value === undefined || value === false) continue;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A field with its name in front of it.
function choice(label, options, value, change, attributes = {}) {
  const field = el("select", { ...attributes, onchange: () => change(field.value) });
  for (const [key, text] of options) field.append(el("option", { value: key, selected: String(key) === String(value) }, text));
  return el("label", { class: "field" }, el("span", {}, label), field);
}

const minus = (text) => text.replace("-", "−");

// Numbers as the grids of the project write them: three digits of the largest one, so that they line up.
function sayNumber(value, largest = 0) {
  if (value === null || value === undefined) return "–";
  const scale = Math.max(Math.abs(value), Math.abs(largest));
  if (scale === 0) return "0";
  if (scale >= 1e6 || scale < 1e-4) return minus(value.toPrecision(3));
  return minus(value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(scale)))));
}

const scoreOf = (cell, name = state.metric) => cell.scores[name]?.value ?? null;
const largestOf = new Map(
  metrics.map(({ name }) => [name, Math.max(0, ...cells.map((cell) => Math.abs(scoreOf(cell, name) ?? 0)))]),
);
const sayScore = (value, name = state.metric) => sayNumber(value, largestOf.get(name));

// How good a value is, the more the better; null where the metric prefers nothing.
function goodness(value, metric) {
  if (value === null || !metric) return null;
  if (metric.direction === "higher") return value;
  if (metric.direction === "lower") return -value;
  return metric.ideal === null ? null : -Math.abs(value - metric.ideal);
}
const betterWord = (metric) =>
  ({ higher: "higher is better", lower: "lower is better" })[metric.direction] ??
  (metric.ideal === null ? "neither end is better" : `best at ${metric.ideal}`);

// The lowest and highest value over all cells, for scales that do not move while cells are filtered.
const rangeOf = new Map(
  metrics.map(({ name }) => {
    const known = cells.map((cell) => scoreOf(cell, name)).filter((value) => value !== null);
    return [name, known.length ? [Math.min(...known), Math.max(...known)] : null];
  }),
);
const bestOf = new Map(
  metrics.map((metric) => {
    const known = cells.map((cell) => goodness(scoreOf(cell, metric.name), metric)).filter((value) => value !== null);
    return [metric.name, known.length ? Math.max(...known) : null];
  }),
);
const isBest = (cell, name = state.metric) => {
  const best = bestOf.get(name);
  return best !== null && best === goodness(scoreOf(cell, name), metricOf(name));
};

// From 0 to 1 within a metric's values, 1 the best; by the value itself where nothing is better.
function shareOf(value, name = state.metric) {
  const range = rangeOf.get(name);
  if (value === null || !range) return null;
  const share = range[1] > range[0] ? (value - range[0]) / (range[1] - range[0]) : 0.5;
  const metric = metricOf(name);
  if (metric.direction === "lower") return 1 - share;
  if (metric.direction === "neutral" && metric.ideal !== null) {
    const worst = Math.max(...range.map((end) => Math.abs(end - metric.ideal)));
    return worst ? 1 - Math.abs(value - metric.ideal) / worst : 1;
  }
  return share;
}

const nameOf = (cell) => axes.map((axis, number) => `${axis.title} ${axis.labels[cell.at[number]]}`).join(", ");
const announce = (text) => {
  byId("said").textContent = text;
};

// What the reader chose lasts where the browser keeps things for pages from a disk.
const kept = {
  get(name) {
    try {
      return localStorage.getItem(`s2v-report-${name}`);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`s2v-report-${name}`, value);
    } catch {
      // a browser that keeps nothing
    }
  },
};
