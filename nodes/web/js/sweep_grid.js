// Sweep Grid shows the cells in the graph as they are finished; Run Sweep shows how far the run is.
import { app } from "../../../scripts/app.js";
import { addStyle, make } from "./grid_dom.js";
import { RUN_SWEEP, sayRun, SweepSource } from "./grid_source.js";
import { GridView } from "./grid_view.js";

const SWEEP_GRID = "Skeleton2Video_SweepGrid";
const SHOWN = "skeleton2video_sweep"; // in a node's output
const LEAST_HEIGHT = 340;

/** Append a panel behind the node's own fields; it is no value of the graph. */
function addPanel(node, name, root, options) {
  const widget = node.addDOMWidget(name, `skeleton2video_${name}`, root, {
    serialize: false,
    hideOnZoom: false,
    ...options,
  });
  widget.serialize = false;
  return widget;
}

function addGrid(node) {
  const view = new GridView(node);
  addPanel(node, "cells", view.root, { getMinHeight: () => LEAST_HEIGHT, margin: 8 });
  node.skeleton2video = view; // for scripts that want to know what is shown
  // The panel shows more than the saved video would, which stays in the host's lists of outputs.
  node.hideOutputImages = true;
  node.onDrawBackground = () => {};
  chain(node, "onExecuted", (output) => output?.[SHOWN]?.[0] && view.source.remember(output[SHOWN][0]));
  chain(node, "onRemoved", () => view.close());
}

function addProgress(node) {
  const said = make("div", { class: "s2v-said" });
  const done = make("div", { class: "s2v-done" });
  const track = make("div", { class: "s2v-track" }, done);
  const root = make("div", { class: "s2v-progress" }, said, track);
  const source = new SweepSource(node, () => {
    const { run, grid } = source;
    const states = Object.values(grid?.states ?? {});
    const stored = states.filter((one) => one.state === "stored").length;
    const step = source.busy && run.steps ? run.step / run.steps : 0;
    said.textContent = source.problem && !source.busy ? "" : sayRun(source);
    said.classList.toggle("s2v-bad", run?.state === "failed");
    done.style.width = `${states.length ? (100 * (stored + step)) / states.length : 0}%`;
    track.hidden = !states.length || (stored === states.length && !source.busy);
    track.dataset.busy = String(source.busy);
  });
  addPanel(node, "progress", root, { getMinHeight: () => 40, getMaxHeight: () => 40, margin: 8 });
  chain(node, "onRemoved", () => source.close());
}

function chain(node, name, after) {
  const before = node[name];
  node[name] = function (...given) {
    const answer = before?.apply(this, given);
    after(...given);
    return answer;
  };
}

app.registerExtension({
  name: "Skeleton2Video.SweepGrid",

  nodeCreated(node) {
    if (!node.addDOMWidget) return;
    if (node.comfyClass === SWEEP_GRID) {
      addStyle();
      addGrid(node);
    } else if (node.comfyClass === RUN_SWEEP) {
      addStyle();
      addProgress(node);
    }
  },
});
