// What a node shows: its sweep's grid, asked of the server, and kept up to date by the messages of a run.
import { api } from "../../../scripts/api.js";
import { address, ask } from "./grid_film.js";
import { fieldOf, source, widgetOf } from "./grid_graph.js";

const EVENT = "skeleton2video.sweep";
const KEPT = "skeleton2video_sweep"; // the node's property that a saved graph brings back
const LOOK = 600; // milliseconds between two looks at the graph
export const RUN_SWEEP = "Skeleton2Video_RunSweep";
const BUSY = ["planning", "running", "waiting"];

/** The Run Sweep node that feeds this one, or this one itself. */
export function sweepNode(node) {
  if (node.comfyClass === RUN_SWEEP) return node;
  const from = source(node, "sweep")?.node;
  return from?.comfyClass === RUN_SWEEP ? from : null;
}

export class SweepSource {
  /** `changed(what, message)`: "all" when the grid is another, "run" when only the run or some cells are. */
  constructor(node, changed) {
    Object.assign(this, { node, changed, key: "", layout: "", grid: null, run: null, problem: "", asked: 0 });
    this.onMessage = (event) => this.take(event.detail);
    this.onAgain = () => this.refresh();
    api.addEventListener(EVENT, this.onMessage);
    api.addEventListener("reconnected", this.onAgain);
    this.timer = setInterval(() => this.look(), LOOK);
    queueMicrotask(() => this.look());
  }

  /** The sweep's name as the graph says it, or as the node remembers it. */
  wanted() {
    const from = sweepNode(this.node);
    const { widget } = from ? fieldOf(from, "name") : {};
    if (widget) return String(widget.value).trim();
    return this.node.properties?.[KEPT] ?? "";
  }

  get busy() {
    return BUSY.includes(this.run?.state);
  }

  /** States of the cells by id; while a run is going, those that it has yet to make are "waiting". */
  state(id) {
    const known = this.grid?.states[id] ?? { state: "missing" };
    if (known.state === "stored" || !this.busy) return known;
    if (this.run.cell === id) return { state: "running" };
    return id in this.run.failed ? { state: "failed", reason: this.run.failed[id] } : { state: "waiting" };
  }

  look() {
    const key = this.wanted();
    const layout = String(widgetOf(this.node, "layout")?.value ?? "auto");
    if (key === this.key && layout === this.layout) return;
    Object.assign(this, { key, layout });
    this.refresh();
  }

  /** A node's output names the sweep that it showed. */
  remember(key) {
    this.node.properties ??= {};
    this.node.properties[KEPT] = key;
    this.look();
    this.refresh();
  }

  async refresh() {
    const number = ++this.asked;
    if (!this.key) return this.put({ grid: null, run: null, problem: "" });
    try {
      const response = await ask(address("sweep", { sweep: this.key, layout: this.layout }), { cache: "no-store" });
      const { sweep, grid, run } = await response.json();
      if (number !== this.asked) return;
      this.put({ sweep, grid, run, problem: "" });
    } catch (error) {
      if (number !== this.asked) return;
      // While the server is away, what is known stays.
      if (error.status) this.put({ grid: null, run: error.status === 404 ? this.run : null, problem: error.message });
    }
  }

  put(found) {
    Object.assign(this, found);
    this.changed("all");
  }

  take(message) {
    const mine = message.sweep === this.sweep || message.sweep === this.key;
    const from = sweepNode(this.node);
    // A name that comes by a link is known only when the node runs.
    const named = from && (mine || fieldOf(from, "name").widget);
    if (from && !named && message.node.split(":").at(-1) === String(from.id)) return this.remember(message.sweep);
    if (!mine) return;
    this.run = message.run;
    if (message.what === "planned" || message.what === "end" || !this.grid) return void this.refresh();
    if (message.what === "cell") this.grid.states[message.id] = message.cell;
    this.changed("run", message);
  }

  close() {
    clearInterval(this.timer);
    api.removeEventListener(EVENT, this.onMessage);
    api.removeEventListener("reconnected", this.onAgain);
  }
}

/** "7 of 12 cells · guidance 3, LoRA 1.5 · step 5 of 12 · about 41 s left" */
export function sayRun(from) {
  if (from.problem && !from.busy) return from.problem.split("\n")[0];
  const { run, grid } = from;
  if (run?.state === "failed" && run.problem) return run.problem.split("\n")[0];
  const states = Object.values(grid?.states ?? {});
  const count = (name) => states.filter((one) => one.state === name).length;
  const total = grid ? states.length : (run?.distinct ?? 0);
  const stored = grid ? count("stored") : (run?.stored ?? 0);
  if (!total) return run?.state === "planning" ? "Planning the cells…" : "";
  const said = [`${stored} of ${total} cells`];
  const failed = Object.keys(run?.failed ?? {}).length;
  if (failed) said.push(`${failed} failed`);
  if (count("damaged")) said.push(`${count("damaged")} damaged`);
  if (run?.state === "waiting") said.push("waiting for cells of another process");
  else if (from.busy && run.cell) {
    said.push(run.labels.join(", "));
    if (run.step) said.push(`step ${run.step} of ${run.steps}`);
  }
  if (from.busy && run.left != null && stored < total) said.push(`about ${duration(run.left)} left`);
  if (!from.busy && stored < total) {
    const stopped = { stopped: "stopped; ", failed: "ended by an error; " }[run?.state] ?? "";
    said.push(`${stopped}Run makes the other ${total - stored}`);
  }
  return said.join(" · ");
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}
