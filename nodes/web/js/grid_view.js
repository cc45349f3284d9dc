// The panel in the Sweep Grid node: controls, progress, the grid, and what was put into the sampler.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { addSampler, applyCell, samplers } from "./grid_apply.js";
import { fillRow, icon, keepEvents, make } from "./grid_dom.js";
import { address, ask, Clock, Film, tileFor } from "./grid_film.js";
import { nameOf, show } from "./grid_graph.js";
import { Large } from "./grid_large.js";
import { duration, sayRun, sweepNode, SweepSource } from "./grid_source.js";
import { Table } from "./grid_table.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const MANY = 48; // cells; more are drawn from smaller films

export class GridView {
  constructor(node) {
    this.node = node;
    this.films = new Map();
    this.page = 0;
    this.chosen = null;
    this.clock = new Clock((frame) => this.tick(frame));
    this.large = new Large();
    this.table = new Table({
      choose: (cell) => this.choose(cell),
      point: (cell, element) => this.point(cell, element),
      resized: () => this.load(),
    });
    this.build();
    this.source = new SweepSource(node, (what, message) => (what === "all" ? this.showAll() : this.showRun(message)));
    this.showAll();
    this.wantPlay = !calm.matches;
  }

  build() {
    this.play = make("button", { type: "button", class: "s2v-icon", onclick: () => this.toggle() });
    this.scrub = make("input", {
      type: "range",
      class: "s2v-scrub",
      min: 0,
      value: 0,
      step: 1,
      "aria-label": "Frame",
      oninput: () => {
        this.wantPlay = false;
        this.update();
        this.clock.show(Number(this.scrub.value));
      },
    });
    this.count = make("span", { class: "s2v-count" });
    this.pages = make("select", {
      "aria-label": "Page",
      onchange: () => {
        this.page = Number(this.pages.value);
        this.showPage();
      },
    });
    this.into = make("select", { "aria-label": "Sampler that a click sets", title: "The sampler that a click sets" });
    this.into.onchange = () => (this.node.properties.skeleton2video_sampler = this.into.value);
    this.go = make("button", { type: "button", class: "s2v-button", onclick: () => this.runOrStop() });
    this.said = make("div", { class: "s2v-said" });
    this.done = make("div", { class: "s2v-done" });
    this.told = make("div", { class: "s2v-told", role: "status" });
    this.track = make(
      "div",
      { class: "s2v-track", role: "progressbar", "aria-label": "Cells", "aria-valuemin": 0 },
      this.done,
    );
    const controls = [this.play, this.scrub, this.count, this.pages, this.into, this.go];
    const bar = make("div", { class: "s2v-bar" }, ...controls, this.said);
    this.root = make("div", { class: "s2v-grid" }, bar, this.track, this.table.root, this.told);
    keepEvents(this.root);
    // Keys of the controls (space, arrows) are not the graph's.
    bar.addEventListener(
      "keydown",
      (event) => event.key !== "Escape" && !event.ctrlKey && !event.metaKey && event.stopPropagation(),
    );
    this.root.addEventListener("pointerenter", () => this.listSamplers());
    this.root.addEventListener("focusin", () => this.listSamplers());
    this.filled = new ResizeObserver(() => fillRow(this.root));
    this.filled.observe(this.root);
  }

  /** The grid is another one, or is known for the first time. */
  showAll() {
    const { grid } = this.source ?? {};
    const wanted = new Set(Object.entries(grid?.states ?? {}).map(([id, one]) => `${id} ${one.version}`));
    for (const [key, film] of this.films) if (!wanted.has(key)) (film.close(), this.films.delete(key));
    const pages = grid?.pages ?? [""];
    this.page = Math.min(this.page, pages.length - 1);
    this.pages.hidden = pages.length < 2;
    this.pages.replaceChildren(
      ...pages.map((text, value) => make("option", { value, selected: value === this.page }, text)),
    );
    this.listSamplers();
    this.showPage();
  }

  showPage() {
    const { grid } = this.source ?? {};
    this.table.root.hidden = !grid;
    // The cells are new ones: nobody points at them yet.
    this.pointed = null;
    this.large.close();
    if (grid) {
      const known = Object.values(grid.states).find((one) => one.state === "stored");
      this.table.size = known ? [known.width, known.height] : grid.size;
      this.table.show(grid, this.page);
      const shown = new Set([...this.table.cells.values()].map(({ cell }) => cell.id));
      // Films take memory; those of another page are quickly there again, from the browser's cache.
      for (const [key, film] of this.films) if (!shown.has(film.id)) (film.close(), this.films.delete(key));
    }
    this.showRun();
  }

  /** The run went on, or a cell is finished. */
  showRun(message) {
    if (!this.source) return;
    const { grid, run } = this.source;
    const states = Object.values(grid?.states ?? {});
    const stored = states.filter((one) => one.state === "stored");
    this.clock.frames = Math.max(1, ...stored.map((one) => one.frames));
    this.clock.fps = stored[0]?.fps ?? 16;
    this.said.textContent = sayRun(this.source) || "Connect Run Sweep and press Run: the cells appear here one by one.";
    this.said.classList.toggle(
      "s2v-bad",
      Boolean(this.source.problem && this.source.key && grid) || run?.state === "failed",
    );
    const share = states.length ? stored.length / states.length : 0;
    const step = this.source.busy && run.steps ? run.step / run.steps / Math.max(1, states.length) : 0;
    this.done.style.width = `${100 * (share + step)}%`;
    this.track.setAttribute("aria-valuemax", states.length);
    this.track.setAttribute("aria-valuenow", stored.length);
    this.track.dataset.busy = String(this.source.busy);
    this.track.hidden = !states.length || (share === 1 && !this.source.busy);
    if (!message || message.what !== "step")
      this.large.root.isConnected && this.pointed && this.point(this.pointed.cell, this.pointed.element);
    this.mark();
    this.load();
    this.update();
  }

  mark() {
    const { run } = this.source;
    this.table.mark((id) => this.stateOf(id), run, this.chosen);
    if (run?.preview && this.source.busy) this.showPreview(run.cell, run.preview);
  }

  /** What was found wrong only when its film was read counts too. */
  stateOf(id) {
    const state = this.source.state(id);
    const problem = state.state === "stored" && this.films.get(`${id} ${state.version}`)?.problem;
    return problem ? { state: "damaged", reason: problem } : state;
  }

  showPreview(id, url) {
    const image = new Image();
    image.onload = () => {
      if (this.source.run?.cell !== id) return;
      this.preview = image;
      for (const { cell, canvas } of this.table.cells.values()) if (cell.id === id) paint(image, canvas);
      if (this.pointed?.cell.id === id && this.large.root.isConnected) paint(image, this.large.canvas);
    };
    image.src = url;
  }

  load() {
    const { table, source } = this;
    if (!source?.grid || !table.tile) return;
    const many = table.cells.size > MANY;
    for (const { cell } of table.drawn((id) => this.stateOf(id))) {
      const film = this.film(cell.id);
      const shown = table.tile * Math.min(devicePixelRatio || 1, many ? 1 : 2);
      film.load(tileFor(shown, Math.max(film.state.width, film.state.height)), () => this.filmed(film));
    }
  }

  film(id) {
    const state = this.source.grid.states[id];
    const key = `${id} ${state.version}`;
    if (!this.films.has(key)) this.films.set(key, new Film(this.source.sweep, id, state));
    return this.films.get(key);
  }

  filmed(film) {
    if (film.problem) this.mark();
    else
      for (const { cell, canvas } of this.table.cells.values())
        if (cell.id === film.id) film.draw(canvas, this.clock.frame);
  }

  tick(frame) {
    if (!this.root.isConnected || !this.root.offsetParent) return;
    for (const { cell, canvas } of this.table.drawn((id) => this.stateOf(id))) this.film(cell.id).draw(canvas, frame);
    this.scrub.value = frame;
    this.count.textContent = `${frame + 1}/${this.clock.frames}`;
    this.large.tick(this.clock);
  }

  toggle() {
    this.wantPlay = !this.clock.playing;
    this.update();
  }

  /** The controls, from what is there. */
  update() {
    const moves = this.clock.frames > 1;
    this.clock.play(moves && this.wantPlay);
    const playing = this.clock.playing;
    if (this.play.dataset.playing !== String(playing)) {
      this.play.replaceChildren(icon(playing ? "pause" : "play"));
      this.play.dataset.playing = String(playing);
      this.play.setAttribute("aria-label", playing ? "Pause" : "Play");
      this.play.title = playing ? "Pause" : "Play";
    }
    this.play.disabled = this.scrub.disabled = !moves;
    this.scrub.max = Math.max(1, this.clock.frames - 1);
    this.clock.show(Math.min(this.clock.frame, this.clock.frames - 1));
    this.count.textContent = moves ? this.count.textContent : "";
    const { busy, grid } = this.source;
    const left = !grid || Object.values(grid.states).some((one) => one.state !== "stored");
    this.go.hidden = !busy && !(left && sweepNode(this.node));
    this.go.textContent = busy ? "Stop" : "Run";
    this.go.title = busy ? "Stop after this step. Finished cells are kept." : "Make the cells that are not finished.";
  }

  async runOrStop() {
    if (this.source.busy) await api.interrupt(null);
    else await app.queuePrompt(0, 1);
  }

  point(cell, element) {
    this.pointed = cell && { cell, element };
    if (!cell) this.quiet = null;
    // After a click what was set is to be read: the picture opens again at the next cell.
    if (!cell || cell.id === this.quiet) return this.large.close();
    const state = this.stateOf(cell.id);
    const { grid, run, sweep } = this.source;
    if (state.state !== "stored" && state.state !== "running" && !state.reason) return this.large.close();
    const film = state.state === "stored" ? this.film(cell.id) : null;
    const said = film
      ? [
          `${state.width} × ${state.height}`,
          `${state.frames} frames`,
          state.seconds && `made in ${duration(state.seconds)}`,
          "click: put into the sampler",
        ]
      : state.reason
        ? [state.reason.split("\n")[0]]
        : [`step ${run.step} of ${run.steps}`];
    this.large.point(element, {
      sweep,
      id: cell.id,
      state,
      labels: cell.labels,
      said: said.filter(Boolean).join(" · "),
      size: film ? [state.width, state.height] : grid.size,
      draw: (canvas) => (film ? film.draw(canvas, this.clock.frame) : this.preview && paint(this.preview, canvas)),
    });
  }

  listSamplers() {
    const found = samplers(this.node);
    const kept = this.node.properties?.skeleton2video_sampler;
    const value = (node) => `${node.graph?.id ?? ""}:${node.id}`;
    const target = found.find((node) => value(node) === kept) ?? found[0];
    this.target = target;
    this.into.hidden = found.length < 2;
    if (!this.chosen) this.hint();
    const said = found.map((node) => `${value(node)} ${nameOf(node)} ${node === target}`).join("\n");
    if (this.into.dataset.said === said) return;
    this.into.dataset.said = said;
    this.into.replaceChildren(
      ...found.map((node) => make("option", { value: value(node), selected: node === target }, `→ ${nameOf(node)}`)),
    );
  }

  async choose(cell) {
    const number = (this.choices = (this.choices ?? 0) + 1);
    this.quiet = cell.id;
    this.large.close();
    try {
      const response = await ask(address("cell", { sweep: this.source.sweep, id: cell.id }));
      const form = await response.json();
      if (number !== this.choices) return;
      this.chosen = cell.id;
      this.mark();
      this.listSamplers();
      if (this.target) this.tell(form, applyCell(form, this.target, sweepNode(this.node)));
      else this.offerSampler(form);
    } catch (error) {
      this.say(make("p", { class: "s2v-bad" }, error.message));
    }
  }

  offerSampler(form) {
    const add = make("button", { type: "button", class: "s2v-button" }, "Add one");
    add.onclick = () => {
      const made = addSampler(this.node, sweepNode(this.node));
      this.listSamplers();
      this.tell(form, applyCell(form, made, sweepNode(this.node)));
    };
    this.say(make("p", {}, "There is no Wan-VACE Sampler in this graph to put the settings into."), add);
  }

  /** On screen: what was set, and what could not be. */
  tell(form, { sampler, changed, same, missed }) {
    const find = make("button", { type: "button", class: "s2v-link", onclick: () => show(sampler) }, nameOf(sampler));
    const lines = [];
    const set = changed.length
      ? changed.join(", ")
      : missed.length
        ? "nothing had to be changed"
        : "all of it was so already";
    lines.push(make("p", {}, make("b", {}, form.labels.join(", ")), " → ", find, `: ${set}`));
    if (missed.length) {
      const list = make("ul", {}, ...missed.map((text) => make("li", {}, text)));
      lines.push(make("div", { class: "s2v-missed" }, make("p", {}, "Not set:"), list));
    }
    this.say(...lines);
    this.last = { labels: form.labels, changed, same, missed };
  }

  say(...content) {
    const close = make(
      "button",
      { type: "button", class: "s2v-icon", "aria-label": "Close", title: "Close" },
      icon("close"),
    );
    close.onclick = () => {
      this.chosen = null;
      this.mark();
      this.hint();
    };
    this.told.replaceChildren(make("div", { class: "s2v-told-text" }, ...content), close);
    this.told.classList.remove("s2v-hint");
  }

  /** Where later is said what was set. It keeps its place, so that nothing moves under the pointer. */
  hint() {
    const to = this.target ? `${nameOf(this.target)}` : "a Wan-VACE Sampler";
    const text = `Point at a cell to enlarge it. Click it to put its settings into ${to}.`;
    this.told.hidden = !this.source?.grid;
    this.told.replaceChildren(make("p", { class: "s2v-told-text" }, text));
    this.told.classList.add("s2v-hint");
  }

  close() {
    this.source.close();
    this.clock.stop();
    this.large.close();
    this.table.close();
    this.filled.disconnect();
    for (const film of this.films.values()) film.close();
  }
}

function paint(image, canvas) {
  Object.assign(canvas, { width: image.naturalWidth, height: image.naturalHeight });
  canvas.getContext("2d").drawImage(image, 0, 0);
}
