// Says under a Sweep Axis node, while its values are typed, how they are read or what is wrong with them.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const WAIT = 250; // milliseconds after the last key

app.registerExtension({
  name: "Skeleton2Video.SweepAxis",

  nodeCreated(node) {
    const find = (name) => node.widgets?.find((widget) => widget.name === name);
    const axis = find("axis");
    const values = find("values");
    const together = find("together");
    if (node.comfyClass !== "Skeleton2Video_SweepAxis" || !axis || !values || !node.addDOMWidget) return;

    const text = document.createElement("div");
    Object.assign(text.style, { fontSize: "11px", lineHeight: "1.35", overflow: "auto", whiteSpace: "pre-wrap" });
    text.setAttribute("aria-live", "polite");
    const said = node.addDOMWidget("read as", "skeleton2video_read_as", text, {
      serialize: false,
      getMinHeight: () => 48,
      getMaxHeight: () => 96,
    });
    said.serialize = false; // not a value of the graph

    let timer;
    let asked = 0;
    const ask = async () => {
      const number = ++asked;
      try {
        const response = await api.fetchApi("/skeleton2video/axis", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ axis: axis.value, values: values.value, together: Boolean(together?.value) }),
        });
        const answer = response.ok ? await response.json() : {};
        if (number !== asked) return; // something else was typed meanwhile
        text.textContent = answer.problem ?? answer.said ?? "";
        text.style.color = answer.problem ? "var(--error-text, #ff6b6b)" : "var(--descrip-text, #999)";
      } catch {
        text.textContent = ""; // a host that is gone says so itself
      }
    };
    const soon = () => {
      clearTimeout(timer);
      timer = setTimeout(ask, WAIT);
    };
    for (const widget of [axis, values, together]) {
      if (!widget) continue;
      const before = widget.callback;
      widget.callback = function (...given) {
        soon();
        return before?.apply(this, given);
      };
    }
    (values.inputEl ?? values.element)?.addEventListener?.("input", soon);
    const configured = node.onConfigure;
    node.onConfigure = function (...given) {
      soon(); // a graph was opened
      return configured?.apply(this, given);
    };
    soon();
  },
});
