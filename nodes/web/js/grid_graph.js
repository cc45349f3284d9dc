// Finding one's way in the graph: through links, reroutes, bypassed nodes and the walls of subgraphs.
import { app } from "../../../scripts/app.js";

const SUBGRAPH_INPUT = "-10"; // the id that frontends give to the inner side of a subgraph's inputs, some as a number
const BYPASSED = 4;
const DEEPEST = 64;

const nodesOf = (graph) => graph?.nodes ?? graph?._nodes ?? [];
const linkOf = (graph, id) => graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id];

/** Every node of the workflow, also those inside subgraphs. */
export function* allNodes(graph = app.rootGraph ?? app.graph?.rootGraph ?? app.graph) {
  for (const node of nodesOf(graph)) {
    yield node;
    if (node.subgraph) yield* allNodes(node.subgraph);
  }
}

/** The node and output that feed an input, or null where nothing does. */
export function source(node, name) {
  const input = node?.inputs?.find((one) => one.name === name);
  return input?.link == null ? null : follow(node.graph, input.link, 0);
}

/** The field that an input takes its value from: the node's own, or one of the node that feeds it, where that has a
 * single value. Gives { node, widget }; `widget` is null where there is none to set. */
export function fieldOf(node, name) {
  const input = node.inputs?.find((one) => one.name === name);
  if (input?.link == null) return { node, widget: widgetOf(node, name) ?? null };
  const link = linkOf(node.graph, input.link);
  const wall = link && String(link.origin_id) === SUBGRAPH_INPUT ? outerInput(node.graph, link.origin_slot) : null;
  // A field that a subgraph shows on its outside.
  if (wall?.input && wall.input.link == null) return fieldOf(wall.holder, wall.input.widget?.name ?? wall.input.name);
  const from = source(node, name)?.node ?? null;
  const widget = from && /^Primitive/.test(from.type) ? (widgetOf(from, "value") ?? from.widgets?.[0]) : null;
  return { node: from, widget: widget ?? null };
}

/** The node that holds a subgraph, and its input that leads to one of the subgraph's. */
function outerInput(graph, slot) {
  const holder = [...allNodes()].find((one) => one.subgraph === graph);
  const named = graph.inputs?.[slot]?.name;
  return { holder, input: holder?.inputs?.find((one) => one.name === named) ?? holder?.inputs?.[slot] };
}

function follow(graph, id, depth) {
  const link = id == null || depth > DEEPEST ? null : linkOf(graph, id);
  if (!link) return null;
  const slot = link.origin_slot;
  if (String(link.origin_id) === SUBGRAPH_INPUT) {
    const { holder, input } = outerInput(graph, slot);
    return holder ? follow(holder.graph, input?.link, depth + 1) : null;
  }
  const origin = graph.getNodeById(link.origin_id);
  if (!origin) return null;
  if (origin.subgraph) return follow(origin.subgraph, origin.subgraph.outputs?.[slot]?.linkIds?.[0], depth + 1);
  if (origin.type === "Reroute") return follow(graph, origin.inputs?.[0]?.link, depth + 1);
  if (origin.mode === BYPASSED) {
    const type = origin.outputs?.[slot]?.type;
    const through = origin.inputs?.find((one) => one.type === type && one.link != null);
    return through ? follow(graph, through.link, depth + 1) : null;
  }
  return { node: origin, slot };
}

/** All nodes that a node gets something from, near and far. */
export function ancestors(node, found = new Set()) {
  for (const input of node?.inputs ?? []) {
    const from = input.link == null ? null : source(node, input.name)?.node;
    if (!from || found.has(from)) continue;
    found.add(from);
    ancestors(from, found);
  }
  return found;
}

export const widgetOf = (node, name) => node?.widgets?.find((widget) => widget.name === name);

/** How a person knows a node: its title and number. */
export const nameOf = (node) => `${node.title || node.type} #${node.id}`;

/** Bring a node into view, also out of another subgraph. */
export function show(node) {
  const canvas = app.canvas;
  if (canvas.graph !== node.graph && canvas.setGraph) canvas.setGraph(node.graph);
  canvas.selectNode?.(node);
  canvas.centerOnNode?.(node);
  canvas.setDirty?.(true, true);
}
