// Two cells on top of each other with a line to wipe between them, side by side, or their difference.
const MODES = { wipe: "Wipe", side: "Side by side", difference: "Difference" };
const comparison = { mode: "wipe", at: 50, fulls: [], canvas: null, line: null };

function toggleCompare(cell) {
  if (!cell.clip) return;
  const { compare } = state;
  if (compare.includes(cell.number)) state.compare = compare.filter((number) => number !== cell.number);
  else state.compare = [...compare.slice(-1), cell.number];
  changed("compare");
  if (state.compare.length === 2) openCompare();
  else announce(state.compare.length ? `${nameOf(cell)} picked. Pick another one to compare.` : "No cell is picked.");
}

function openCompare() {
  const dialog = byId("compare");
  const pair = state.compare.map((number) => cells[number]);
  closeDetails(false);
  hoverEnd();
  const canvas = el("canvas", { role: "img", "aria-label": `${nameOf(pair[0])} and ${nameOf(pair[1])}`, class: pair.every((cell) => crisp(cell.clip)) ? "crisp" : "" });
  const line = el("div", {
    ...{ class: "wiper", role: "slider", tabindex: 0, "aria-label": "Where A ends and B begins", "aria-valuemin": 0, "aria-valuemax": 100 },
    onkeydown: (event) => {
      const by = { ArrowLeft: -2, ArrowRight: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 }[event.key];
      if (!by) return;
      wipeTo(comparison.at + by);
      event.preventDefault();
      event.stopPropagation();
    },
  });
  const pane = el("div", { class: "pane" }, canvas, line);
  const stage = el("div", { class: "stage", onpointerdown: wipeByPointer, onpointermove: (event) => event.buttons && wipeByPointer(event) }, pane);
  const modes = el("div", { class: "modes", role: "group", "aria-label": "How they are shown" },
    Object.entries(MODES).map(([mode, label]) => press(label, mode === comparison.mode, () => {
      comparison.mode = mode;
      modes.querySelectorAll("button").forEach((button, number) => button.setAttribute("aria-pressed", Object.keys(MODES)[number] === mode));
      drawCompare();
    })));
  const name = (letter, cell) => el("p", { class: "side-name" }, el("b", {}, letter), " ", nameOf(cell));
  dialog.replaceChildren(
    el("header", {}, el("h2", { id: "compare-title" }, "Compare"), modes,
      el("button", { type: "button", class: "quiet", onclick: () => {
        state.compare.reverse();
        changed("compare");
        openCompare();
      } }, "Exchange"),
      el("button", { type: "button", class: "quiet", "aria-label": "Close", title: "Close (Esc)", onclick: () => dialog.close() }, icon(ICONS.close))),
    el("div", { class: "names" }, name("A", pair[0]), name("B", pair[1])), stage, playRow(), differences(pair));
  Object.assign(comparison, { canvas, line, pair });
  comparison.fulls.forEach((full) => full.close());
  comparison.fulls = pair.map((cell) => openFull(cell.clip, drawCompare));
  if (!dialog.open) dialog.showModal();
  wipeTo(comparison.at);
  line.focus();
}

// The dialog covers the page's own bar, so it has one of its own.
function playRow() {
  const button = el("button", { type: "button", class: "transport-play", onclick: () => play() });
  const slider = el("input", { type: "range", min: 0, max: facts.frames - 1, step: 1, "aria-label": "Frame", oninput: () => {
    if (clock.playing) play(false);
    seek(Number(slider.value));
  } });
  comparison.show = () => {
    slider.value = state.frame;
    slider.style.setProperty("--share", `${facts.frames > 1 ? (100 * state.frame) / (facts.frames - 1) : 0}%`);
    button.replaceChildren(icon(clock.playing ? ICONS.pause : ICONS.play));
    button.setAttribute("aria-label", clock.playing ? "Pause" : "Play");
  };
  comparison.show();
  return el("div", { class: "play-row" }, button, slider);
}

function wipeByPointer(event) {
  if (comparison.mode !== "wipe") return;
  const box = comparison.canvas.getBoundingClientRect();
  wipeTo((100 * (event.clientX - box.left)) / box.width);
  event.preventDefault();
}

function wipeTo(share) {
  comparison.at = Math.max(0, Math.min(100, share));
  comparison.line.style.setProperty("--at", `${comparison.at}%`);
  comparison.line.setAttribute("aria-valuenow", Math.round(comparison.at));
  comparison.line.setAttribute("aria-valuetext", `A ${Math.round(comparison.at)} percent, B ${100 - Math.round(comparison.at)} percent`);
  drawCompare();
}

const scratch = document.createElement("canvas");
function drawCompare() {
  const { canvas, fulls, mode, pair } = comparison;
  if (!canvas || !byId("compare").open) return;
  const width = Math.max(...pair.map((cell) => cell.clip.size[0]));
  const height = Math.max(...pair.map((cell) => cell.clip.size[1]));
  const gap = mode === "side" ? Math.max(2, Math.round(width / 100)) : 0;
  const full = mode === "side" ? 2 * width + gap : width;
  if (canvas.width !== full || canvas.height !== height) [canvas.width, canvas.height] = [full, height];
  if (scratch.width !== width || scratch.height !== height) [scratch.width, scratch.height] = [width, height];
  const context = canvas.getContext("2d");
  const paper = scratch.getContext("2d");
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, full, height);
  fulls.forEach((clip, number) => {
    if (!clip.draw(paper, state.frame)) return;
    if (mode === "side") context.drawImage(scratch, number * (width + gap), 0);
    else if (mode === "difference") {
      if (number) context.globalCompositeOperation = "difference";
      context.drawImage(scratch, 0, 0);
    } else {
      const cut = number ? Math.round((width * comparison.at) / 100) : 0;
      if (cut < width) context.drawImage(scratch, cut, 0, width - cut, height, cut, 0, width - cut, height);
    }
  });
  canvas.style.setProperty("aspect-ratio", `${full} / ${height}`);
  canvas.parentElement.style.setProperty("--shape", full / height);
  comparison.line.hidden = mode !== "wipe";
}

// What the two do not have in common, and their scores.
function differences(pair) {
  const [one, other] = pair.map((cell) => ({
    ...Object.fromEntries(Object.entries(cell.settings).filter(([name]) => name !== "loras")),
    LoRAs: cell.settings.loras.map((use) => `${use.file.split(/[\\/]/).pop()} at ${use.strength}${use.scope ? ` (${use.scope})` : ""}`).join(", ") || "none",
    prompt: cell.prompt,
    "negative prompt": cell.negative,
  }));
  const names = Object.keys(one).filter((name) => sayValue(one[name]) !== sayValue(other[name]));
  const settings = names.map((name) => el("tr", {}, el("th", { scope: "row" }, name.replaceAll("_", " ")), el("td", {}, sayValue(one[name])), el("td", {}, sayValue(other[name])), el("td", {})));
  const scores = metrics.filter((metric) => pair.some((cell) => scoreOf(cell, metric.name) !== null)).map((metric) => {
    const [a, b] = pair.map((cell) => scoreOf(cell, metric.name));
    const [first, second] = [a, b].map((value) => goodness(value, metric));
    const better = first === null || second === null || first === second ? -1 : Number(second > first);
    const value = (number, at) => el("td", { class: better === at ? "better" : "" }, sayScore(number, metric.name));
    const size = a === null || b === null ? "" : sayScore(Math.abs(b - a), metric.name);
    const gap = Number(size) ? `${b > a ? "+" : "−"}${size}` : size;
    return el("tr", {}, el("th", { scope: "row" }, metric.title), value(a, 0), value(b, 1), el("td", { class: "dim" }, gap));
  });
  return el("table", { class: "pairs versus" },
    el("thead", {}, el("tr", {}, el("th", {}, el("span", { class: "unseen" }, "What")), el("th", { scope: "col" }, "A"), el("th", { scope: "col" }, "B"), el("th", { scope: "col" }, scores.length ? "B − A" : ""))),
    el("tbody", {}, settings.length ? settings : el("tr", {}, el("th", { scope: "row" }, "settings"), el("td", { colspan: 3 }, "the same")), scores));
}

function closeCompare() {
  comparison.fulls.forEach((full) => full.close());
  comparison.fulls = [];
  const [, last] = state.compare;
  state.compare = [];
  changed("compare");
  if (last !== undefined) viewOf(cells[last]).main.focus({ preventScroll: true });
}
byId("compare").addEventListener("close", closeCompare);
on("frame", () => {
  if (!byId("compare").open) return;
  drawCompare();
  comparison.show();
});
on("playing", () => byId("compare").open && comparison.show());
