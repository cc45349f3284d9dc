// A button on Sweep Report that opens the page which the node wrote.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const NAME = "Skeleton2Video_SweepReport";

app.registerExtension({
  name: "Skeleton2Video.SweepReport",

  nodeCreated(node) {
    if (node.comfyClass !== NAME || !node.addWidget) return;
    let place = "";
    const open = () => {
      if (!place) return;
      // In the click itself: browsers allow new tabs only then.
      window.open(api.apiURL(`/skeleton2video/report?place=${encodeURIComponent(place)}`), "_blank", "noopener");
    };
    // Not sent to the server, and no value of the graph.
    const button = node.addWidget("button", "open report", null, open, { serialize: false });
    button.serialize = false;
    button.tooltip = "Opens the page in a new tab";
    const show = () => {
      button.disabled = !place;
      button.label = place ? "Open report" : "Run to write the report";
      node.setDirtyCanvas?.(true);
    };
    const executed = node.onExecuted;
    node.onExecuted = function (output, ...more) {
      place = output?.skeleton2video_report?.[0] ?? place;
      show();
      return executed?.call(this, output, ...more);
    };
    show();
  },
});
