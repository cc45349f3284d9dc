// Which cells are shown, in which order, and where: by the axes as a table, or one after the other.
const MOST_COLUMNS = 8;

// With many axes the table would be too wide: the third and further ones begin with one value each.
function startFilters() {
  const wide = (list) => list.reduce((count, axis) => count * shownValues(axis).length, 1);
  for (const side of [state.columns, state.rows]) {
    for (const axis of side.slice(0, -1)) {
      if (wide(side) <= MOST_COLUMNS) break;
      axes[axis].labels.forEach((_, value) => value && state.hidden[axis].add(value));
    }
  }
}

const shownValues = (axis) =>
  axes[axis].labels.map((_, value) => value).filter((value) => !state.hidden[axis].has(value));

// A click on a value when all are shown keeps only that one; then values come and go one by one.
function toggleValue(axis, value) {
  const { labels } = axes[axis];
  const hidden = state.hidden[axis];
  if (hidden.size === 0) labels.forEach((_, other) => other !== value && hidden.add(other));
  else if (hidden.has(value)) hidden.delete(value);
  else hidden.add(value);
  if (hidden.size === labels.length) hidden.clear();
  changed("shown");
}

function fits(cell) {
  if (cell.at.some((value, axis) => state.hidden[axis].has(value))) return false;
  if (state.front && !facts.front.includes(cell.number)) return false;
  for (const [name, least] of state.least) {
    const value = scoreOf(cell, name);
    if (value === null || value < least) return false;
  }
  for (const [name, most] of state.most) {
    const value = scoreOf(cell, name);
    if (value === null || value > most) return false;
  }
  return true;
}

const shownCells = () => cells.filter(fits);
const filtered = () =>
  state.front || state.least.size > 0 || state.most.size > 0 || state.hidden.some((hidden) => hidden.size > 0);

function clearFilters() {
  for (const hidden of state.hidden) hidden.clear();
  state.least.clear();
  state.most.clear();
  state.front = false;
  changed("shown");
}

// A list is the better form where there is one axis only.
const isTable = () => state.order === "axes" && state.rows.length > 0 && state.columns.length > 0;

function inOrder(list) {
  const metric = metricOf(state.metric);
  const place = (cell) => cell.number;
  if (state.order === "axes") return list;
  if (state.order === "best" || state.order === "worst") {
    const sign = state.order === "best" ? -1 : 1;
    // Where nothing is better, the order is that of the values; what has none comes last.
    const key = (cell) => goodness(scoreOf(cell), metric) ?? scoreOf(cell);
    return [...list].sort((one, other) => {
      const [first, second] = [key(one), key(other)];
      if (first === null || second === null) return (first === null) - (second === null) || place(one) - place(other);
      return sign * (first - second) || place(one) - place(other);
    });
  }
  const axis = Number(state.order);
  return [...list].sort((one, other) => one.at[axis] - other.at[axis] || place(one) - place(other));
}

// The combinations of values along a side of the table that have a cell, outer axes first: [{values, key}].
function alongSide(side, list) {
  const found = new Map();
  for (const cell of list) {
    const values = side.map((axis) => cell.at[axis]);
    found.set(values.join(), values);
  }
  return [...found.values()].sort((one, other) => {
    const differs = one.findIndex((value, level) => value !== other[level]);
    return differs < 0 ? 0 : one[differs] - other[differs];
  });
}

// Of a side's axes those that still have several values; the innermost is always said.
const saidLevels = (side, lines) =>
  side.map((_, level) => level).filter(
    (level) => level === side.length - 1 || new Set(lines.map((values) => values[level])).size > 1,
  );

// What all shown cells have in common of axes that are not said.
function commonWords() {
  return axes
    .map((axis, number) => [axis, shownValues(number)])
    .filter(([axis, values]) => values.length === 1 && axis.labels.length > 1)
    .map(([axis, [value]]) => `${axis.title} ${axis.labels[value]}`);
}
