// Puts the settings of a cell into a Wan-VACE Sampler and the nodes before it, and says what it did and could not do.
import { app } from "../../../scripts/app.js";
import { allNodes, ancestors, fieldOf, nameOf, source, widgetOf } from "./grid_graph.js";

export const SAMPLER = "Skeleton2Video_WanVaceSampler";
const LORA = "Skeleton2Video_WanVaceLora";
const PROMPT = "Skeleton2Video_BuildDancePrompt";
const NO_PRESET = "none";
// What a sampler and a sweep have in common: a sampler that is added gets these from where the sweep gets them.
const SHARED = ["model", "prompt", "control_video", "reference", "loras", "mask", "start_clip"];
const PICTURES = { model: "model", pose: "control_video", reference: "reference" };

/** The samplers of the workflow; those beside the grid come first. */
export function samplers(grid) {
  const found = [...allNodes()].filter((node) => node.comfyClass === SAMPLER || node.type === SAMPLER);
  return found.sort((a, b) => (b.graph === grid.graph) - (a.graph === grid.graph));
}

/** Add a sampler to the right of the grid, fed as the sweep is, with LoRA nodes of its own. */
export function addSampler(grid, sweep) {
  const node = window.LiteGraph.createNode(SAMPLER);
  node.pos = [grid.pos[0] + grid.size[0] + 60, grid.pos[1]];
  grid.graph.add(node);
  for (const name of SHARED) connect(sweep && source(sweep, name), node, name);
  const { chain, outside } = stackOf(node);
  let above = node.pos[1];
  let last = outside;
  for (const lora of chain) {
    const copy = window.LiteGraph.createNode(LORA);
    above -= copy.size[1] + 60;
    copy.pos = [node.pos[0], above];
    grid.graph.add(copy);
    for (const widget of copy.widgets ?? []) widget.value = widgetOf(lora, widget.name)?.value ?? widget.value;
    connect(last, copy, "loras");
    last = { node: copy, slot: 0 };
  }
  if (chain.length) connect(last, node, "loras");
  return node;
}

function connect(from, node, name) {
  const slot = node.inputs?.findIndex((input) => input.name === name) ?? -1;
  if (from && slot >= 0 && from.node.graph === node.graph) from.node.connect(from.slot, node, slot);
}

/** The LoRA nodes in front of a node, in the stack's order, and what their stack begins with, if anything. */
function stackOf(node) {
  const chain = [];
  let outside = source(node, "loras");
  while (outside?.node.type === LORA && !chain.includes(outside.node)) {
    chain.unshift(outside.node);
    outside = source(outside.node, "loras");
  }
  return { chain, outside };
}

/** Set everything that can be. Gives { sampler, changed: [text], same: number, missed: [text] }. */
export function applyCell(form, sampler, sweep) {
  // What also feeds the sweep stays as it is: otherwise the next run would be of another sweep.
  const told = { sampler, changed: [], same: 0, missed: [], untouched: ancestors(sweep) };
  sampler.graph.beforeChange?.();
  for (const [name, value] of Object.entries(form.settings)) put(told, sampler, name, value);
  fixSeed(told, sampler);
  if (widgetOf(sampler, "preset")) put(told, sampler, "preset", NO_PRESET);
  putLoras(told, form, sampler, sweep);
  putPrompt(told, form, sampler, sweep);
  for (const [axis, input] of Object.entries(PICTURES)) {
    if (!form.varied.includes(axis)) continue;
    const label = form.labels.find((text) => text.startsWith(axis)) ?? axis;
    told.missed.push(`${label}: choose it at the sampler's ${input.replace("_", " ")}`);
  }
  sampler.graph.afterChange?.();
  sampler.setDirtyCanvas?.(true, true);
  // What undo goes back to; frontends look by themselves only after a key or a click on the canvas.
  app.extensionManager?.workflow?.activeWorkflow?.changeTracker?.checkState?.();
  return told;
}

/** One field, wherever it is. */
function put(told, node, name, value, label = words(name)) {
  if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value))
    return void told.missed.push(`${label}: too large a number for a browser`);
  const { node: target, widget } = fieldOf(node, name);
  if (!widget) {
    const why =
      target === node ? `${nameOf(node)} has no such field` : `comes from ${target ? nameOf(target) : "a link"}`;
    return void told.missed.push(`${label} ${say(value)}: ${why}`);
  }
  const choices = choicesOf(widget, target);
  if (choices && !choices.includes(value))
    return void told.missed.push(`${label} ${say(value)}: not among the choices of ${nameOf(target)}`);
  const before = widget.value;
  if (before === value) return void told.same++;
  if (told.untouched.has(target))
    return void told.missed.push(
      `${label} ${say(value)}: ${nameOf(target)} feeds the sweep too; give the sampler its own`,
    );
  setWidget(target, widget, value);
  if (widget.value !== value)
    return void told.missed.push(`${label} ${say(value)}: the field takes ${say(widget.value)}`);
  told.changed.push(`${label} ${say(before)} → ${say(value)}`);
}

function setWidget(node, widget, value) {
  widget.value = value;
  widget.callback?.(value, app.canvas, node, node.pos, {});
  // A field's own callback rounds to its step; the cell's value is what was rendered.
  if (widget.value !== value) widget.value = value;
}

function choicesOf(widget, node) {
  const values = widget.options?.values;
  if (typeof values === "function") return values(widget, node);
  return Array.isArray(values) ? values : null;
}

/** Otherwise the next run would take another seed. */
function fixSeed(told, sampler) {
  const { node, widget } = fieldOf(sampler, "seed");
  if (!widget || told.untouched.has(node)) return;
  const before = [];
  for (const holder of new Set([sampler, node])) {
    const control = widgetOf(holder, "control_after_generate");
    if (!control || control.value === "fixed") continue;
    before.push(control.value);
    setWidget(holder, control, "fixed");
  }
  if (before.length) told.changed.push(`seed after a run: ${before[0]} → fixed`);
}

function putLoras(told, form, sampler, sweep) {
  const { chain, outside: begin } = stackOf(sampler);
  const outside = begin?.node;
  // What does not come from nodes with fields comes first in the stack.
  const first = Math.max(0, form.loras.length - chain.length);
  form.loras.slice(0, first).forEach((use, number) => {
    const base = form.base.loras[number];
    const asConnected =
      base && JSON.stringify(base) === JSON.stringify(use) && outside === stackOf(sweep).outside?.node;
    if (outside && asConnected) return void told.same++;
    const why = outside
      ? `comes from ${nameOf(outside)}, which has no field for it`
      : "add a Wan-VACE LoRA node for it";
    told.missed.push(`LoRA ${stem(use.file)} at ${say(use.strength)}: ${why}`);
  });
  if (!form.loras.length && outside) told.missed.push(`no LoRA: disconnect ${nameOf(outside)}`);
  const idle = chain.length - (form.loras.length - first);
  chain.slice(0, idle).forEach((node) => put(told, node, "strength", 0, `${nameOf(node)} (not in this cell) strength`));
  chain.slice(idle).forEach((node, number) => {
    const { file, name, ...fields } = form.loras[first + number];
    if (name) put(told, node, "lora", name, "LoRA");
    else told.missed.push(`LoRA ${stem(file)}: not in ComfyUI's folder of LoRAs`);
    for (const [field, value] of Object.entries(fields)) put(told, node, field, value, `LoRA ${words(field)}`);
  });
}

function putPrompt(told, form, sampler, sweep) {
  const from = source(sampler, "prompt")?.node;
  const { prompt, base } = form;
  const same = prompt.text === base.prompt.text && prompt.negative === base.prompt.negative;
  if (same && from && from === source(sweep, "prompt")?.node) return void told.same++;
  if (from?.type === PROMPT) {
    put(told, from, "negative", prompt.negative, "negative prompt");
    if (prompt.text === base.prompt.text) return;
    if (choicesOf(widgetOf(from, "variant") ?? {}, from)?.includes(prompt.variant)) {
      put(told, from, "variant", prompt.variant, "prompt variant");
      return;
    }
  }
  const short = prompt.text.length > 60 ? `${prompt.text.slice(0, 59)}…` : prompt.text;
  told.missed.push(`prompt “${short}”: connect the prompt of Pick Cell`);
}

const words = (name) => name.replaceAll("_", " ");
const stem = (file) =>
  file
    .split(/[\\/]/)
    .pop()
    .replace(/\.safetensors$/, "");
const say = (value) => {
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "number") return String(Math.round(value * 1e6) / 1e6);
  return value === "" || value == null ? "empty" : value.length > 40 ? `${value.slice(0, 39)}…` : value;
};
