// The cells themselves: their canvases, headers and captions, and the focus among them.
const views = new Map(); // cell's number -> its elements
const onScreen = new Set(); // cells that are in view
let overlaid = false; // whether the control videos lie over the cells

const STAR = "M8 1.2l2 4.5 4.9.5-3.7 3.2 1.1 4.8L8 11.7l-4.3 2.5 1.1-4.8L1.1 6.2 6 5.7z";
const DIAMOND = "M8 2l5 6-5 6-5-6z";

function viewOf(cell) {
  let view = views.get(cell.number);
  if (view) return view;
  const canvas = el("canvas");
  [canvas.width, canvas.height] = cell.clip?.tile ?? [16, 9];
  const score = el("span", { class: "score" });
  const meter = el("span", { class: "meter", "aria-hidden": "true" });
  const tag = el("span", { class: "tag", "aria-hidden": "true" });
  const badges = el("span", { class: "badges", "aria-hidden": "true" });
  const shot = el("div", { class: "shot" }, cell.clip ? canvas : emptyTile(cell), tag, badges);
  const words = el("span", { class: "words" }, axes.map((axis, number) => [number ? " · " : "", el("span", {}, `${axis.title} ${axis.labels[cell.at[number]]}`)]));
  const main = el(
    "div",
    {
      ...{ class: `cell ${cell.state}`, role: "button", tabindex: -1, "aria-haspopup": "dialog", "data-cell": cell.number },
      onclick: () => openDetails(cell),
      onfocus: () => focused(cell),
      onpointerenter: (event) => event.pointerType === "mouse" && hoverSoon(cell, main),
      onpointerleave: () => hoverEnd(),
    },
    shot,
    el("div", { class: "caption" }, words, score),
    meter,
  );
  const pick = el("button", {
    ...{ type: "button", class: "pick", tabindex: -1, title: "Compare (C)", "aria-label": `Compare ${nameOf(cell)}` },
    onclick: () => toggleCompare(cell),
  }, icon(ICONS.compare));
  const place = el("div", { class: "place" }, main, cell.clip ? pick : null);
  view = { cell, place, main, canvas, score, meter, tag, badges, context: cell.clip ? canvas.getContext("2d") : null };
  place.style.setProperty("--ratio", `${(cell.clip?.size ?? sizeOfAny()).join(" / ")}`);
  views.set(cell.number, view);
  watcher.observe(place);
  dress(view);
  return view;
}

const sizeOfAny = () => cells.find((cell) => cell.size)?.size ?? [16, 9];

function emptyTile(cell) {
  const head = { failed: "failed", missing: "not computed" }[cell.state] ?? cell.state;
  return el("div", { class: "empty", title: cell.reason }, el("b", {}, head), cell.reason ? el("span", {}, cell.reason) : null);
}

const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const number = Number(entry.target.firstElementChild.dataset.cell);
      const { clip } = views.get(number).cell;
      if (entry.isIntersecting) onScreen.add(number);
      else onScreen.delete(number);
      if (!clip) continue;
      if (entry.isIntersecting) {
        inView.add(clip.sheet);
        drawCell(views.get(number));
      } else {
        inView.delete(clip.sheet);
      }
    }
    settle();
  },
  { rootMargin: "120px" },
);

function drawCell(view) {
  const { cell, context } = view;
  if (!context) return;
  const drawn = drawSheet(context, cell.clip, state.frame, (entry) => {
    if (entry.failed) {
      view.place.classList.add("lost");
      view.main.title = "The clip beside this page cannot be read.";
    } else if (onScreen.has(cell.number)) drawCell(view);
    settle();
  });
  const over = drawn && overlaid && overlayOf(cell);
  if (over) {
    context.globalCompositeOperation = "lighten";
    drawSheet(context, over, state.frame, () => drawCell(view));
    context.globalCompositeOperation = "source-over";
  }
}

// The control video of a cell, where it has the cell's shape.
function overlayOf(cell) {
  const shape = ([width, height]) => width / height;
  const fitting = ({ clip, axis, at }) =>
    clip && (axis === null || cell.at[axis] === at) && Math.abs(shape(clip.size) - shape(cell.clip.size)) < 0.02;
  return facts.inputs.find(fitting)?.clip ?? null;
}

function drawCells() {
  for (const number of onScreen) drawCell(views.get(number));
}

// Whether everything in view is there, for people who wait and programs that look.
function settle() {
  byId("cells").setAttribute("aria-busy", decoding > 0 || queue.length > 0);
}

// What of a cell follows the state: score, marks, names.
function dress(view) {
  const { cell } = view;
  const value = scoreOf(cell);
  const reason = cell.scores[state.metric]?.reason ?? "";
  const recommended = facts.recommended.includes(cell.number);
  const front = facts.front.includes(cell.number);
  const best = isBest(cell);
  view.score.textContent = metrics.length ? sayScore(value) : "";
  view.score.title = value === null ? reason : "";
  view.main.classList.toggle("best", best);
  view.main.classList.toggle("none", value === null);
  const share = shareOf(value);
  view.meter.style.setProperty("--share", share === null ? 0 : 0.03 + 0.97 * share);
  view.badges.replaceChildren(
    ...(recommended ? [badge(STAR, "star")] : []),
    ...(front && !recommended ? [badge(DIAMOND, "diamond")] : []),
  );
  const letter = "AB"[state.compare.indexOf(cell.number)] ?? "";
  view.tag.textContent = letter;
  view.place.classList.toggle("picked", letter !== "");
  const metric = metricOf(state.metric);
  const said = !metric ? "" : value === null ? `${metric.title}: none, ${reason}` : `${metric.title} ${sayScore(value)}`;
  const marks = [recommended && "recommended", front && "not beaten by any other", best && "best", letter && `compared as ${letter}`];
  const trouble = cell.state === "there" ? "" : `${cell.state === "failed" ? "failed" : "not computed"} ${cell.reason}`;
  view.main.setAttribute("aria-label", [nameOf(cell), trouble, said, ...marks].filter(Boolean).join(". "));
}

const badge = (path, name) => svg("svg", { viewBox: "0 0 16 16", class: `badge ${name}` }, svg("path", { d: path }));

// The whole table or list anew; canvases are kept.
function showCells() {
  const shown = shownCells();
  const place = byId("cells");
  const body = isTable() ? tableOf(shown) : listOf(inOrder(shown));
  place.replaceChildren(shown.length ? body : nothing());
  place.classList.toggle("as-list", !isTable());
  for (const view of views.values()) if (!view.place.isConnected) onScreen.delete(view.cell.number);
  const again = shown.find((cell) => cell.number === state.at) ?? shown[0];
  if (again) viewOf(again).main.tabIndex = 0;
  const said = commonWords();
  const all = shown.length === cells.length ? `All ${cells.length} cells` : `${shown.length} of ${cells.length} cells`;
  byId("count").textContent = [all, ...said].join(" · ");
}

function nothing() {
  return el("div", { class: "banner" }, "No cell fits these filters. ", el("button", { type: "button", onclick: clearFilters }, "Show all"));
}

function listOf(list) {
  return el("ol", { class: "list" }, list.map((cell) => el("li", {}, viewOf(cell).place)));
}

function tableOf(list) {
  const [rows, columns] = [alongSide(state.rows, list), alongSide(state.columns, list)];
  const [rowLevels, columnLevels] = [saidLevels(state.rows, rows), saidLevels(state.columns, columns)];
  const places = new Map(list.map((cell) => [keyOf(cell, state.rows, state.columns), cell]));
  const table = el("table", { class: "grid" });
  table.style.setProperty("--columns", columns.length);
  const corner = rowLevels.map((level) => axes[state.rows[level]].title).join(" · ");
  const head = columnLevels.map((level, number) => {
    const axis = axes[state.columns[level]];
    const cornered = number === 0
      ? el("th", { class: "corner-head", colspan: rowLevels.length, rowspan: columnLevels.length }, corner)
      : null;
    const spans = runs(columns, level);
    return el("tr", {}, cornered, spans.map(([values, span], index) =>
      el("th", { scope: span > 1 ? "colgroup" : "col", colspan: span, class: level === state.columns.length - 1 ? "inner" : "outer" },
        index === 0 || level < state.columns.length - 1 ? el("span", { class: "axis-name" }, `${axis.title} `) : el("span", { class: "unseen" }, `${axis.title} `),
        axis.labels[values[level]])));
  });
  const body = rows.map((values, number) =>
    el("tr", {},
      rowLevels.map((level) => {
        const before = rows[number - 1];
        if (before && values.slice(0, level + 1).join() === before.slice(0, level + 1).join()) return null;
        const span = runs(rows, level).find(([first]) => first === values)?.[1] ?? 1;
        return el("th", { scope: span > 1 ? "rowgroup" : "row", rowspan: span },
          el("span", { class: "unseen" }, `${axes[state.rows[level]].title} `), axes[state.rows[level]].labels[values[level]]);
      }),
      columns.map((across) => {
        const cell = places.get([...values, "|", ...across].join());
        return el("td", {}, cell ? viewOf(cell).place : null);
      })));
  table.append(el("caption", { class: "unseen" }, `Cells of ${facts.name}`), el("thead", {}, head), el("tbody", {}, body));
  return table;
}

const keyOf = (cell, rows, columns) => [...rows.map((axis) => cell.at[axis]), "|", ...columns.map((axis) => cell.at[axis])].join();

// Neighbours that are equal down to this level: [[values, how many], ...].
function runs(lines, level) {
  const found = [];
  let last = null;
  for (const values of lines) {
    const key = values.slice(0, level + 1).join();
    if (key === last) found.at(-1)[1] += 1;
    else found.push([values, 1]);
    last = key;
  }
  return found;
}

function focused(cell) {
  const before = views.get(state.at);
  if (before) before.main.tabIndex = -1;
  state.at = cell.number;
  viewOf(cell).main.tabIndex = 0;
  changed("at");
}

// To the neighbour in a direction, by where the cells lie on the screen: the same for tables and lists.
function moveFocus(key) {
  const from = document.activeElement?.closest?.(".cell");
  const all = [...byId("cells").querySelectorAll(".cell")];
  if (!from || !all.length) return false;
  const box = from.getBoundingClientRect();
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const middles = all.map((cell) => {
    const other = cell.getBoundingClientRect();
    return { cell, x: other.left + other.width / 2 - x, y: other.top + other.height / 2 - y };
  });
  const sameRow = middles.filter((one) => Math.abs(one.y) < box.height / 2);
  const near = {
    ArrowLeft: () => middles.filter((one) => one.x < -4 && sameRow.includes(one)),
    ArrowRight: () => middles.filter((one) => one.x > 4 && sameRow.includes(one)),
    ArrowUp: () => middles.filter((one) => one.y < -box.height / 2),
    ArrowDown: () => middles.filter((one) => one.y > box.height / 2),
    Home: () => sameRow.sort((one, other) => one.x - other.x).slice(0, 1),
    End: () => sameRow.sort((one, other) => other.x - one.x).slice(0, 1),
  }[key]?.();
  if (!near) return false;
  // Steps across rows stay in the column: sideways counts more.
  near.sort((one, other) => Math.abs(one.x) * 3 + Math.abs(one.y) - Math.abs(other.x) * 3 - Math.abs(other.y));
  near[0]?.cell.focus({ preventScroll: true });
  near[0]?.cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  return true;
}

function goTo(cell) {
  if (!fits(cell)) clearFilters();
  const { main } = viewOf(cell);
  main.focus({ preventScroll: true });
  main.scrollIntoView({ block: "center", inline: "center" });
}

// The control video and the references above the cells.
function makeInputs() {
  const place = byId("inputs");
  const drawn = facts.inputs.map((input) => {
    const canvas = el("canvas", { role: "img", "aria-label": input.name });
    const context = canvas.getContext("2d");
    canvas.style.setProperty("aspect-ratio", (input.clip?.size ?? input.size).join(" / "));
    if (input.still) {
      bitmapOf(input.still).then((bitmap) => {
        [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
        context.drawImage(bitmap, 0, 0);
      }, () => canvas.replaceWith(el("p", { class: "dim" }, "The picture beside this page cannot be read.")));
    } else {
      [canvas.width, canvas.height] = input.clip.tile;
    }
    place.append(el("figure", {}, canvas, el("figcaption", {}, input.name)));
    return { input, context };
  });
  const draw = () => {
    if (place.hidden) return;
    for (const { input, context } of drawn) {
      if (!input.clip) continue;
      inView.add(input.clip.sheet);
      drawSheet(context, input.clip, state.frame, draw);
    }
  };
  place.hidden = !facts.inputs.length;
  on("frame inputs", draw);
  draw();
}

on("frame", drawCells);
on("shown order sides", showCells);
on("metric compare", () => views.forEach(dress));
on("metric", () => state.order !== "axes" && showCells());
on("overlay", drawCells);
on("decoded", settle);
