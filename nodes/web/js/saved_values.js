// The browser saves a node's values by their place, with that of the upload button at the very end: "image". When a node
// gets another field, an old graph's "image" stands where the new field's value belongs. It says nothing, so it goes.
import { app } from "../../../scripts/app.js";

const UPLOADS = new Set(["Skeleton2Video_LoadAistClip"]);

app.registerExtension({
  name: "Skeleton2Video.SavedValues",

  beforeConfigureGraph(graph) {
    const parts = [graph, ...(graph.definitions?.subgraphs ?? [])];
    for (const node of parts.flatMap((part) => part.nodes ?? [])) {
      const values = node.widgets_values;
      if (UPLOADS.has(node.type) && Array.isArray(values) && values.at(-1) === "image") values.pop();
    }
  },
});
