// The drawer of one cell: large, with its scores, settings and where it comes from.
const drawer = { cell: null, full: null, canvas: null, back: null };

function openDetails(cell) {
  closeDetails(false);
  const place = byId("details");
  drawer.cell = cell;
  drawer.back = viewOf(cell).main;
  state.at = cell.number;
  hoverEnd();
  const canvas = el("canvas", { class: cell.clip && crisp(cell.clip) ? "crisp" : "", role: "img", "aria-label": nameOf(cell) });
  const shot = cell.clip ? el("div", { class: "large" }, canvas) : emptyTile(cell);
  place.replaceChildren(
    el("header", {},
      el("div", {}, el("p", { class: "eyebrow" }, `Cell ${cell.number + 1}${facts.recommended.includes(cell.number) ? " · recommended" : ""}${facts.front.includes(cell.number) ? " · not beaten by any other" : ""}`),
        el("h2", { id: "details-title", tabindex: -1 }, axes.map((axis, number) => el("span", {}, el("span", { class: "dim" }, `${axis.title} `), axis.labels[cell.at[number]])))),
      el("button", { type: "button", class: "quiet", "aria-label": "Close", title: "Close (Esc)", onclick: () => closeDetails() }, icon(ICONS.close))),
    el("div", { class: "drawer-body" }, shot, cell.clip ? el("p", { class: "dim small" }, clipWords(cell)) : null,
      copyButtons(cell), scoreTable(cell), settingsTable(cell), wordsOf(cell), originOf(cell)),
  );
  place.hidden = false;
  document.body.classList.add("drawn");
  if (cell.clip) {
    drawer.canvas = canvas;
    drawer.full = openFull(cell.clip, drawDetails);
    [canvas.width, canvas.height] = cell.clip.size;
    drawDetails();
  }
  byId("details-title").focus({ preventScroll: true });
  changed("at");
}

function drawDetails() {
  if (!drawer.full) return;
  drawer.full.draw(drawer.canvas.getContext("2d"), state.frame);
  // For programs that wait until every frame is the full one.
  drawer.canvas.parentElement.dataset.full = drawer.full.complete && !drawer.full.failed;
}

function closeDetails(giveBack = true) {
  const place = byId("details");
  if (place.hidden) return;
  drawer.full?.close();
  Object.assign(drawer, { full: null, canvas: null, cell: null });
  place.hidden = true;
  document.body.classList.remove("drawn");
  if (giveBack) drawer.back?.focus({ preventScroll: true });
}

function clipWords(cell) {
  const { clip } = cell;
  const left = clip.every > 1 ? ` The grid shows every ${clip.every === 2 ? "second" : `${clip.every}th`} frame.` : "";
  return `${clip.size.join(" × ")} pixels, ${clip.frames} frames at ${Number(clip.fps.toFixed(3))} a second.${left}`;
}

function section(title, ...children) {
  return el("section", {}, el("h3", {}, title), children);
}

function scoreTable(cell) {
  if (!metrics.length) return null;
  const rows = metrics.filter((metric) => scoreOf(cell, metric.name) !== null).map((metric) => {
    const score = cell.scores[metric.name];
    const value = el("td", {}, el("b", {}, sayScore(score.value, metric.name)), metric.unit ? ` ${metric.unit}` : "",
          score.low !== undefined && score.high !== undefined ? el("span", { class: "dim" }, `  ${sayScore(score.low, metric.name)} to ${sayScore(score.high, metric.name)}`) : null,
          isBest(cell, metric.name) ? el("span", { class: "best-word" }, " best") : null);
    const share = shareOf(score.value, metric.name);
    return el("tr", { title: [metric.says, score.how].filter(Boolean).join(" ") }, el("th", { scope: "row" }, metric.title), value,
      el("td", { class: "bar-cell" }, share === null ? null : el("span", { class: "meter", style: { "--share": 0.03 + 0.97 * share } })));
  });
  // What has no value stands below, once for each reason.
  const reasons = new Map();
  for (const metric of metrics) {
    const { value, reason } = cell.scores[metric.name];
    if (value === null) reasons.set(reason, [...(reasons.get(reason) ?? []), metric.title]);
  }
  return section("Scores", rows.length ? el("table", { class: "pairs" }, el("tbody", {}, rows)) : null,
    [...reasons].map(([reason, names]) => el("p", { class: "small no-value" }, el("b", {}, names.join(", ")), " no value: ", el("span", { class: "reason" }, reason))));
}

const sayValue = (value) => (value === true ? "on" : value === false ? "off" : value === "" ? "none" : String(value));

// What the sweep varies comes first, then what is not at its default; the rest on demand.
function settingsTable(cell) {
  const entries = Object.entries(cell.settings).filter(([name]) => name !== "loras");
  const varied = (name) => facts.varied.includes(name) || (facts.varied.includes("size") && ["width", "height"].includes(name));
  const rank = ([name, value]) => (varied(name) ? 0 : value !== facts.defaults[name] ? 1 : 2);
  const row = ([name, value]) => el("tr", { title: facts.help[name] ?? "" },
    el("th", { scope: "row" }, name.replaceAll("_", " ")), el("td", {}, varied(name) ? el("b", {}, sayValue(value)) : sayValue(value)));
  const table = (list) => el("table", { class: "pairs" }, el("tbody", {}, list));
  const loras = cell.settings.loras.map((use) => {
    const more = Object.entries(use).filter(([name]) => !["file", "strength"].includes(name)).map(([name, value]) => `${name.replaceAll("_", " ")} ${sayValue(value)}`);
    return el("tr", { title: use.file }, el("th", { scope: "row" }, "LoRA"), el("td", {}, `${use.file.split(/[\\/]/).pop()} at `, el("b", {}, String(use.strength)), more.length ? ` (${more.join("; ")})` : ""));
  });
  const shown = entries.filter((entry) => rank(entry) < 2).sort((one, other) => rank(one) - rank(other));
  const rest = entries.filter((entry) => rank(entry) === 2);
  return section("Settings", table([...shown.map(row), ...loras]),
    el("details", {}, el("summary", {}, `${rest.length} more at their default`), table(rest.map(row))));
}

function wordsOf(cell) {
  return section("Prompt", el("blockquote", {}, cell.prompt || "none"),
    el("p", { class: "dim small" }, `Negative: ${cell.negative || "none"}`));
}

function originOf(cell) {
  const { made } = cell;
  const cached = made["step cache"];
  const rows = [
    ["id", cell.id],
    ["made", made.created],
    ["rendering", made.seconds === undefined ? null : `${made.seconds} s`],
    ["step cache", cached && `approximate: ${cached["forwards left out"]} of ${cached["forwards in full"]} forwards left out`],
    ["with", Object.entries(made.versions ?? {}).map(([name, version]) => `${name} ${version}`).join(", ")],
    ...Object.entries(made.fingerprint ?? {}),
  ];
  return el("details", {}, el("summary", {}, "Where it comes from"), el("table", { class: "pairs small" }, el("tbody", {},
    rows.filter(([, value]) => value).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "code" }, String(value)))))));
}

function copyButtons(cell) {
  const button = (label, title, data) => {
    const made = el("button", { type: "button", title, onclick: () => {
      const done = copy(data());
      made.textContent = done ? "Copied" : "Not copied";
      announce(done ? `${label} copied` : "The browser does not let this page copy.");
      setTimeout(() => {
        made.textContent = label;
      }, 1600);
    } }, label);
    return made;
  };
  const { json, cli, comfy, items } = cell.copy;
  return el("div", { class: "copies", role: "group", "aria-label": "Copy the settings" },
    el("span", { class: "dim" }, "Copy as"),
    button("JSON", "Prompt and settings", () => ({ "text/plain": json })),
    button("Command", "s2v sample ... that renders this cell again; words in capitals are to be filled in", () => ({ "text/plain": cli })),
    button("ComfyUI node", "Paste it into ComfyUI's graph: the sampler with these values, and its LoRAs", () => ({ "text/plain": comfy, "text/html": comfyHtml(items) })),
    cell.clip ? el("button", { type: "button", title: "Compare (C)", onclick: () => toggleCompare(cell) }, "Compare") : null);
}

// As ComfyUI's own copying writes nodes; its text form is a whole graph, for versions that read only texts.
function comfyHtml(items) {
  const bytes = new TextEncoder().encode(items);
  const data = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return `<meta charset="utf-8"><div><span data-metadata="${data}"></span></div><span style="white-space:pre-wrap;">Text</span>`;
}

// By the old way, which also works for pages from a disk and keeps the HTML as it is.
function copy(forms) {
  let done = false;
  const give = (event) => {
    for (const [type, text] of Object.entries(forms)) event.clipboardData.setData(type, text);
    event.preventDefault();
    event.stopImmediatePropagation();
    done = true;
  };
  document.addEventListener("copy", give, true);
  document.execCommand("copy");
  document.removeEventListener("copy", give, true);
  return done;
}

on("frame", drawDetails);
