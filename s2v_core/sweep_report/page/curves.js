// Curves of a score along an axis with bands, and the trade-off of two scores.
const chosen = { axis: null, by: null, other: null };

// Numbers run along curves; of several axes the one with the most values.
function startCurves() {
  const many = axes.map((axis, number) => number).filter((number) => axes[number].labels.length > 1);
  const rank = (number) => (axes[number].values ? 100 : 0) + axes[number].labels.length - (axes[number].name === "seed" ? 1000 : 0);
  const order = [...many].sort((one, other) => rank(other) - rank(one));
  chosen.axis = order[0] ?? 0;
  chosen.by = order.slice(1).find((number) => axes[number].name !== "seed") ?? -1;
}

const seedAxis = () => axes.findIndex((axis) => axis.name === "seed");

// The lines of the chosen score: those of an analysis where there are any, or plain means with their extremes.
function linesOf() {
  const given = facts.curves.find((curve) => curve.metric === state.metric && curve.axis === chosen.axis && (curve.by ?? -1) === chosen.by);
  if (given) return { lines: given.lines, band: given.band, given: true };
  const groups = new Map();
  for (const cell of cells) {
    if (scoreOf(cell) === null) continue;
    const series = chosen.by < 0 ? null : cell.at[chosen.by];
    const line = groups.get(series) ?? groups.set(series, new Map()).get(series);
    line.set(cell.at[chosen.axis], [...(line.get(cell.at[chosen.axis]) ?? []), cell]);
  }
  let several = false;
  const lines = [...groups].sort(([one], [other]) => one - other).map(([series, line]) => ({
    series,
    points: [...line].sort(([one], [other]) => one - other).map(([at, list]) => {
      const values = list.map((cell) => scoreOf(cell));
      several ||= list.length > 1;
      const own = list.length === 1 ? list[0].scores[state.metric] : {};
      const [low, high] = list.length > 1 ? [Math.min(...values), Math.max(...values)] : [own.low ?? null, own.high ?? null];
      return { at, value: mean(values), low, high, count: list.length, cells: list };
    }),
  }));
  const inside = lines.some((line) => line.points.some((point) => point.low !== null));
  return { lines, band: several ? "lowest to highest" : inside ? "95% interval within the clip" : "" };
}

function drawCurves() {
  const metric = metricOf(state.metric);
  if (!metric.count) return [chartHead(metric), el("p", { class: "banner" }, "No cell has a value.")];
  const { lines, band, given } = linesOf();
  const axis = axes[chosen.axis];
  const at = (value) => axis.values?.[value] ?? value;
  const points = lines.flatMap((line) => line.points);
  const xs = points.map((point) => at(point.at));
  const heights = points.flatMap((point) => [point.value, point.low, point.high]).filter((value) => value !== null);
  const used = [...new Set(points.map((point) => point.at))].sort((one, other) => one - other);
  const every = Math.ceil(used.length / 8);
  const by = chosen.by < 0 ? null : axes[chosen.by];
  const { root, x, y } = frameOfChart({
    xs: [Math.min(...xs), Math.max(...xs)],
    ys: padded(heights),
    places: used.filter((_, number) => number % every === 0).map((value) => [at(value), axis.labels[value]]),
    title: `${metric.title} along ${axis.title}`,
    xTitle: axis.title,
    tail: by ? 52 : 0,
  });
  // One hue from faint to strong: the lines follow the order of their values.
  const strength = (number) => (lines.length < 2 ? 1 : 0.28 + (0.72 * number) / (lines.length - 1));
  const readout = el("p", { class: "readout dim" }, "\u00a0");
  lines.forEach((line, number) => {
    const spread = line.points.filter((point) => point.low !== null && point.high !== null);
    const group = svg("g", { class: "line", style: { "--strength": strength(number) } });
    if (spread.length > 1) {
      const upper = spread.map((point) => `${x(at(point.at))},${y(point.high)}`);
      const lower = spread.map((point) => `${x(at(point.at))},${y(point.low)}`).reverse();
      group.append(svg("polygon", { class: "band", points: [...upper, ...lower].join(" ") }));
    } else if (spread.length === 1) {
      group.append(svg("line", { class: "spread", x1: x(at(spread[0].at)), x2: x(at(spread[0].at)), y1: y(spread[0].low), y2: y(spread[0].high) }));
    }
    group.append(svg("polyline", { class: "stroke", points: line.points.map((point) => `${x(at(point.at))},${y(point.value)}`).join(" ") }));
    const series = by ? `${by.title} ${by.labels[line.series]}` : "";
    for (const point of line.points) {
      const list = point.cells ?? cells.filter((cell) => cell.at[chosen.axis] === point.at && (!by || cell.at[chosen.by] === line.series));
      const interval = point.low === null || point.high === null ? "" : ` (${sayScore(point.low)} to ${sayScore(point.high)})`;
      const text = `${[series, `${axis.title} ${axis.labels[point.at]}`].filter(Boolean).join(", ")}: ${sayScore(point.value)}${interval}${point.count > 1 ? `, ${point.count} cells` : ""}`;
      group.append(spot(x(at(point.at)), y(point.value), text, list, readout));
    }
    root.append(group);
  });
  if (by) labelEnds(root, lines, by, x, y, at, strength);
  return [
    chartHead(metric), root,
    el("div", { class: "chart-fields" }, axisField("Along", chosen.axis, false, (value) => {
      chosen.axis = value;
      if (chosen.by === value) chosen.by = -1;
    }), axisField("A line for each", chosen.by, true, (value) => {
      chosen.by = value;
      if (chosen.axis === value) chosen.axis = axes.findIndex((_, number) => number !== value);
    })),
    el("p", { class: "readout dim" }, [band && `Band: ${band}.`, averaged(chosen.axis, chosen.by, ...(given ? [seedAxis()] : []))].filter(Boolean).join(" ")), readout, tableOfLines(lines, axis, by),
  ];
}

// Names of lines at their right end, moved apart where they would cover each other.
function labelEnds(root, lines, by, x, y, at, strength) {
  const ends = lines.filter((line) => line.points.length).map((line, number) => ({ line, number, end: line.points.at(-1) }));
  ends.sort((one, other) => y(one.end.value) - y(other.end.value));
  let last = -Infinity;
  for (const { line, number, end } of ends) {
    last = Math.max(y(end.value) + 4, last + 13);
    root.append(svg("text", { class: "end", x: x(at(end.at)) + 10, y: last, style: { "--strength": strength(lines.indexOf(line)) } }, by.labels[line.series].slice(0, 8)));
  }
  root.append(svg("text", { class: "axis-title", x: CHART.width - 2, y: CHART.height - CHART.bottom + 17, "text-anchor": "end" }, by.title.slice(0, 9)));
}

function axisField(label, value, none, change) {
  const many = axes.map((axis, number) => [number, axis.title]).filter(([number]) => axes[number].labels.length > 1);
  return choice(label, [...(none ? [[-1, "nothing"]] : []), ...many], value, (picked) => {
    change(Number(picked));
    changed("tab");
  });
}

// A point of a chart that can be reached by mouse and keyboard and leads to its cell.
function spot(x, y, text, list, readout, name = "") {
  const go = () => list.length && goTo(list.find(fits) ?? list[0]);
  const say = () => {
    readout.textContent = text;
  };
  return svg("g", {
    ...{ class: `spot ${name}`, tabindex: 0, role: "button", "aria-label": text, "data-cells": list.map((cell) => cell.number).join(" ") },
    onclick: go, onfocus: say, onpointerenter: say,
    onkeydown: (event) => {
      if (event.key !== "Enter") return;
      go();
      event.preventDefault();
    },
  }, svg("circle", { class: "hit", cx: x, cy: y, r: 10 }), svg("circle", { class: "dot", cx: x, cy: y, r: 3.2 }));
}

function tableOfLines(lines, axis, by) {
  const used = [...new Set(lines.flatMap((line) => line.points.map((point) => point.at)))].sort((one, other) => one - other);
  return el("details", { class: "numbers-table" }, el("summary", {}, "The same as a table"),
    el("div", { class: "scroll", tabindex: 0 }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", {}, axis.title), lines.map((line) => el("th", { scope: "col" }, by ? `${by.title} ${by.labels[line.series]}` : metricOf(state.metric).title)))),
      el("tbody", {}, used.map((place) => el("tr", {}, el("th", { scope: "row" }, axis.labels[place]), lines.map((line) => {
        const point = line.points.find((one) => one.at === place);
        return el("td", {}, point ? sayScore(point.value) : "–", point && point.low !== null && point.high !== null ? el("span", { class: "dim" }, ` ${sayScore(point.low)}–${sayScore(point.high)}`) : null);
      })))))));
}

// Cells that no other one beats in both scores.
function frontOf(list, first, second) {
  const good = (cell, metric) => goodness(scoreOf(cell, metric.name), metric);
  return list.filter((cell) => !list.some((other) => {
    const [a, b] = [good(other, first) - good(cell, first), good(other, second) - good(cell, second)];
    return a >= 0 && b >= 0 && (a > 0 || b > 0);
  }));
}

function drawTrade() {
  const judged = metrics.filter((metric) => metric.count && goodness(0, metric) !== null);
  const first = metricOf(state.metric);
  if (chosen.other === null || chosen.other === first.name) {
    const wanted = facts.frontMetrics.find((name) => name !== first.name && metricOf(name)?.count);
    chosen.other = wanted ?? judged.find((metric) => metric.name !== first.name)?.name ?? null;
  }
  const second = chosen.other === null ? null : metricOf(chosen.other);
  if (!second || goodness(0, first) === null) return [chartHead(first), el("p", { class: "banner" }, "A trade-off needs two scores that have a better end.")];
  const list = cells.filter((cell) => scoreOf(cell, first.name) !== null && scoreOf(cell, second.name) !== null);
  const head = [chartHead(first, `Against ${second.title.toLowerCase()}: ${betterWord(second)}.`)];
  const field = choice("Against", judged.filter((metric) => metric.name !== first.name).map((metric) => [metric.name, metric.title]), second.name, (name) => {
    chosen.other = name;
    changed("tab");
  });
  if (!list.length) return [...head, field, el("p", { class: "banner" }, "No cell has both scores.")];
  const across = list.map((cell) => scoreOf(cell, second.name));
  const xs = padded(across);
  const { root, x, y } = frameOfChart({
    xs, ys: padded(list.map((cell) => scoreOf(cell, first.name))),
    places: sayTicks(ticks(...xs, 5)),
    title: `${first.title} against ${second.title}`, xTitle: `${second.title}${second.unit ? `, ${second.unit}` : ""}`,
  });
  const readout = el("p", { class: "readout dim" }, "\u00a0");
  const front = frontOf(list, first, second).sort((one, other) => scoreOf(one, second.name) - scoreOf(other, second.name));
  root.append(svg("polyline", { class: "front", points: front.map((cell) => `${x(scoreOf(cell, second.name))},${y(scoreOf(cell, first.name))}`).join(" ") }));
  for (const cell of list) {
    const text = `${nameOf(cell)}: ${first.title} ${sayScore(scoreOf(cell, first.name), first.name)}, ${second.title} ${sayScore(scoreOf(cell, second.name), second.name)}`;
    const marks = [front.includes(cell) ? "on-front" : "", facts.recommended.includes(cell.number) ? "recommended" : ""].join(" ");
    root.append(spot(x(scoreOf(cell, second.name)), y(scoreOf(cell, first.name)), text, [cell], readout, marks));
  }
  return [...head, root, el("div", { class: "chart-fields" }, field),
    el("p", { class: "readout dim" }, front.length > 1 ? `The line joins the ${front.length} cells that no other one beats in both.` : "One cell is the best in both."), readout];
}
