// Finding one's way in the graph: through links, reroutes, bypassed nodes and the walls of subgraphs.
import { app } from "../../../scripts/app.js";

const SUBGRAPH_INPUT = -10; // the id that frontends give to the inner side of a subgraph's inputs
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

function follow(graph, id, depth) {
  const link = id == null || depth > DEEPEST ? null : linkOf(graph, id);
  if (!link) return null;
  const slot = link.origin_slot;
  if (link.origin_id === SUBGRAPH_INPUT) {
    const holder = [...allNodes()].find((one) => one.subgraph === graph);
    const named = graph.inputs?.[slot]?.name;
    const outer = holder?.inputs?.find((one) => one.name === named) ?? holder?.inputs?.[slot];
    return holder ? follow(holder.graph, outer?.link, depth + 1) : null;
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

export const widgetOf = (node, name) => node?.widgets?.find((widget) => widget.name === name);

export const isLinked = (node, name) => node?.inputs?.find((one) => one.name === name)?.link != null;

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
