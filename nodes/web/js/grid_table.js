// The grid itself: headers and cells. It knows nothing of graphs and servers.
import { make } from "./grid_dom.js";

const LEAST = 44; // pixels: the narrowest cell
const MOST = 3; // times its own size: the largest cell
const GAP = 3;
const GROUP_GAP = 8; // between groups, beside the gaps
const SAID = { missing: "not yet", waiting: "waiting", failed: "failed", damaged: "damaged", running: "" };
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export class Table {
  /** `events`: choose(cell), point(cell or null, element, byKeyboard). */
  constructor(events) {
    this.events = events;
    this.cells = new Map(); // "row column" -> { cell, button, canvas, mark, bar }
    this.grid = make("div", { class: "s2v-cells", role: "grid" });
    this.root = make("div", { class: "s2v-scroll" }, this.grid);
    this.grid.addEventListener("keydown", (event) => this.key(event));
    this.resized = new ResizeObserver(() => this.fit());
    this.resized.observe(this.root);
  }

  /** Build the cells of one page. `state(id)` as in SweepSource. */
  show(grid, page) {
    const { rows, columns } = grid;
    const at = (one) => one.place[0] === page;
    this.count = [spread(rows).length, spread(columns).length];
    this.sides = [rows, columns];
    this.heads = [Number(Boolean(columns.groups.length)) + 1, Number(Boolean(rows.groups.length)) + 1];
    const focused = this.grid.contains(document.activeElement) ? document.activeElement.dataset.at : null;
    this.grid.replaceChildren(...this.headers(rows, columns));
    this.cells.clear();
    for (const cell of grid.cells.filter(at)) this.add(cell, rows, columns);
    this.roving = this.cells.keys().next().value;
    if (this.roving) this.cells.get(this.roving).button.tabIndex = 0;
    if (focused && this.cells.has(focused)) this.focus(focused);
    this.fit();
  }

  add(cell, rows, columns) {
    const [, row, column] = cell.place;
    const at = `${row} ${column}`;
    const [top, left] = this.heads;
    const canvas = make("canvas", { width: 1, height: 1, "aria-hidden": "true" });
    const mark = make("span", { class: "s2v-mark" });
    const bar = make("span", { class: "s2v-step" });
    const button = make(
      "button",
      {
        type: "button",
        class: "s2v-cell",
        role: "gridcell",
        tabIndex: -1,
        style: { gridRow: top + track(rows, row), gridColumn: left + track(columns, column) },
        "data-at": at,
        "data-id": cell.id,
        onclick: () => this.events.choose(cell),
        onpointerenter: (event) => event.pointerType !== "touch" && this.events.point(cell, button, false),
        onpointerleave: () => this.events.point(null, button, false),
        onfocus: () => button.matches(":focus-visible") && this.events.point(cell, button, true),
        onblur: () => this.events.point(null, button, true),
      },
      canvas,
      mark,
      bar,
    );
    this.cells.set(at, { cell, button, canvas, mark, bar });
    this.grid.append(button);
  }

  headers(rows, columns) {
    const made = [];
    const [top, left] = this.heads;
    const put = (text, kind, row, column, span = 1, down = 1) => {
      const place = { gridRow: `${row} / span ${down}`, gridColumn: `${column} / span ${span}` };
      made.push(make("div", { class: `s2v-head ${kind}`, style: place, title: text }, make("span", {}, text)));
    };
    const both = rows.title && columns.title;
    const corner = [rows.group_title, rows.title].filter(Boolean).map((text) => `${text} ↓`);
    const across = [columns.group_title, columns.title].filter(Boolean).map((text) => `${text} →`);
    const said = both || rows.title ? [...across, ...corner].join("\n") : across.join("\n");
    put(said, "s2v-corner", 1, 1, left, top);
    columns.groups.forEach((text, number) => {
      const many = columns.labels.length;
      put(text, "s2v-column s2v-group", 1, left + track(columns, number * many), many);
    });
    spread(columns).forEach((text, number) => put(text, "s2v-column", top, left + track(columns, number)));
    rows.groups.forEach((text, number) => {
      const many = rows.labels.length;
      put(text, "s2v-row s2v-group", top + track(rows, number * many), 1, 1, many);
    });
    if (rows.title) spread(rows).forEach((text, number) => put(text, "s2v-row", top + track(rows, number), left));
    return made;
  }

  /** The text, colour and label of each cell, from its state. */
  mark(state, run, chosen) {
    for (const { cell, button, canvas, mark, bar } of this.cells.values()) {
      const now = state(cell.id);
      button.dataset.state = now.state;
      const drawn = now.state === "stored" || (now.state === "running" && run?.preview);
      canvas.hidden = !drawn;
      mark.textContent = drawn ? "" : (SAID[now.state] ?? "");
      const step = now.state === "running" && run.steps ? run.step / run.steps : 0;
      bar.style.width = `${100 * step}%`;
      button.setAttribute("aria-selected", String(cell.id === chosen));
      const said = now.state === "stored" ? "finished" : SAID[now.state] || `step ${run?.step} of ${run?.steps}`;
      button.setAttribute("aria-label", `${cell.labels.join(", ")}: ${said}${now.reason ? `. ${now.reason}` : ""}`);
      button.title = now.reason ?? "";
    }
  }

  *drawn(state) {
    for (const entry of this.cells.values()) if (state(entry.cell.id).state === "stored") yield entry;
  }

  key(event) {
    const at = event.target.dataset?.at;
    if (at === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const [row, column] = at.split(" ").map(Number);
    const ends = { Home: [row, 0], End: [row, this.count[1] - 1] };
    const move = MOVES[event.key];
    const to = move ? [row + move[0], column + move[1]] : ends[event.key];
    if (to) {
      event.preventDefault();
      if (this.cells.has(to.join(" "))) this.focus(to.join(" "));
    }
    if (event.key === "Escape") this.events.point(null, event.target, true);
    // The graph has meanings of its own for these.
    if (to || ["Enter", " ", "Escape"].includes(event.key)) event.stopPropagation();
  }

  focus(at) {
    if (this.cells.has(this.roving)) this.cells.get(this.roving).button.tabIndex = -1;
    this.roving = at;
    const { button } = this.cells.get(at);
    button.tabIndex = 0;
    button.focus({ preventScroll: true });
    button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** As large as the room allows: the whole page in view where cells stay readable, else the width of it. */
  fit() {
    if (!this.count || !this.size || !this.root.clientWidth) return;
    const [rows, columns] = this.count;
    const [wide, high] = this.size;
    const style = this.grid.style;
    const place = (tile) => {
      const height = Math.max(16, Math.round((tile * high) / wide));
      style.gridTemplateColumns = `repeat(${this.heads[1]}, auto) ${tracks(this.sides[1], `${tile}px`)}`;
      style.gridTemplateRows = `repeat(${this.heads[0]}, auto) ${tracks(this.sides[0], `minmax(${height}px, auto)`)}`;
      style.setProperty("--s2v-tile", `${tile}px`);
      style.setProperty("--s2v-tile-height", `${height}px`);
    };
    style.setProperty("--s2v-head-width", `${Math.max(44, Math.floor(this.root.clientWidth / 5 / this.heads[1]))}px`);
    place(LEAST);
    const first = this.cells.values().next().value?.button;
    if (!first) return;
    const groups = this.sides.map((side) => Math.max(0, side.groups.length - 1) * (GROUP_GAP + GAP));
    const across = (this.root.clientWidth - first.offsetLeft - groups[1] - 8) / columns - GAP;
    const down = ((this.root.clientHeight - first.offsetTop - groups[0] - 8) / rows - GAP) * (wide / high);
    const readable = Math.min(LEAST * 1.6, wide * MOST);
    const tile = Math.floor(Math.max(LEAST, Math.min(across, Math.max(down, readable), wide * MOST)));
    place(tile);
    // Headers that stay in view when the cells are scrolled stand behind those of their groups.
    const [group, outer] = [".s2v-column.s2v-group", ".s2v-row.s2v-group"].map((kind) => this.grid.querySelector(kind));
    style.setProperty("--s2v-top", `${group ? group.offsetHeight + GAP : 0}px`);
    style.setProperty("--s2v-left", `${outer ? outer.offsetWidth + GAP : 0}px`);
    this.tile = tile;
    // Newer frontends zoom with the wheel everywhere but where this is said.
    const { scrollHeight, clientHeight, scrollWidth, clientWidth } = this.root;
    this.root.dataset.captureWheel = String(scrollHeight > clientHeight + 1 || scrollWidth > clientWidth + 1);
    this.events.resized?.();
  }

  close() {
    this.resized.disconnect();
  }
}

/** The track of a row or column, from 1; between groups is a narrow one. */
const track = (side, number) => 1 + number + (side.groups.length ? Math.floor(number / side.labels.length) : 0);

function tracks(side, size) {
  const group = `repeat(${side.labels.length}, ${size})`;
  return side.groups.length ? side.groups.map(() => group).join(` ${GROUP_GAP}px `) : group;
}

/** The labels of all rows or columns: those of the inner axis again in each group. */
const spread = (side) => (side.groups.length ? side.groups.flatMap(() => side.labels) : side.labels);
