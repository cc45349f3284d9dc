// A cell under the mouse, larger, beside it; it plays along and never takes the mouse itself.
const hovering = { timer: 0, cell: null, full: null, canvas: null };
const HOVER_WAIT = 220; // milliseconds

function hoverSoon(cell, anchor) {
  hoverEnd();
  if (!cell.clip) return;
  hovering.timer = setTimeout(() => hoverShow(cell, anchor), HOVER_WAIT);
}

function hoverShow(cell, anchor) {
  const place = byId("hover");
  const box = anchor.getBoundingClientRect();
  const [width, height] = cell.clip.size;
  const canvas = el("canvas", { class: crisp(cell.clip) ? "crisp" : "" });
  const large = Math.min(Math.max(320, box.width * 2.2), 640, innerWidth - 32);
  // Pixels of tiny clips grow by whole factors.
  const shown = crisp(cell.clip) ? width * Math.max(1, Math.floor(large / width)) : large;
  place.style.setProperty("width", `${shown}px`);
  [canvas.width, canvas.height] = cell.clip.size;
  place.replaceChildren(canvas, el("p", {}, nameOf(cell), metrics.length ? el("b", {}, ` ${sayScore(scoreOf(cell))}`) : ""));
  place.hidden = false;
  const tall = (shown * height) / width + 34;
  const right = box.right + 12 + shown < innerWidth - 8;
  const left = right ? box.right + 12 : Math.max(8, box.left - shown - 12);
  const top = Math.max(8, Math.min(box.top + box.height / 2 - tall / 2, innerHeight - tall - 84));
  place.style.setProperty("transform", `translate(${Math.round(left)}px, ${Math.round(top)}px)`);
  Object.assign(hovering, { cell, canvas, full: openFull(cell.clip, drawHover) });
  drawHover();
}

function drawHover() {
  if (hovering.full) hovering.full.draw(hovering.canvas.getContext("2d"), state.frame);
}

function hoverEnd() {
  clearTimeout(hovering.timer);
  if (!hovering.full) return;
  hovering.full.close();
  Object.assign(hovering, { cell: null, full: null, canvas: null });
  byId("hover").hidden = true;
}
on("frame", drawHover);
addEventListener("scroll", hoverEnd, { passive: true, capture: true });
