// A cell, enlarged beside the grid while somebody points at it, in step with the others.
import { api } from "../../../scripts/api.js";
import { make } from "./grid_dom.js";
import { address } from "./grid_film.js";

const WAIT = 180; // milliseconds of pointing before it opens
const MOST = [640, 560];
const APART = 12;
const LATE = 0.07; // seconds by which a video may be off before it is put right

export class Large {
  constructor() {
    this.canvas = make("canvas", { width: 1, height: 1 });
    this.video = make("video", { muted: true, playsInline: true, disablePictureInPicture: true, preload: "auto" });
    this.title = make("div", { class: "s2v-large-title" });
    this.said = make("div", { class: "s2v-large-said" });
    this.frame = make("div", { class: "s2v-large-frame" }, this.canvas, this.video);
    this.root = make("div", { class: "s2v-large", "aria-hidden": "true" }, this.frame, this.title, this.said);
    this.video.addEventListener("loadeddata", () => (this.video.dataset.ready = "yes"));
  }

  /** Open beside `near` (an element) after a moment; at once where one is open already. */
  point(near, shown) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(near, shown), this.root.isConnected ? 0 : WAIT);
  }

  /** `shown`: { sweep, id, state, labels, said, size, draw(canvas) } */
  open(near, shown) {
    this.shown = shown;
    const [wide, high] = shown.size;
    const room = [Math.min(MOST[0], innerWidth * 0.45), Math.min(MOST[1], innerHeight * 0.7)];
    const factor = Math.min(room[0] / wide, room[1] / high, Math.max(4, 320 / wide));
    // Small pictures grow by whole factors: their pixels stay what they are.
    const scale = factor > 1 ? Math.floor(factor) : factor;
    Object.assign(this.frame.style, {
      width: `${Math.round(wide * scale)}px`,
      height: `${Math.round(high * scale)}px`,
    });
    this.title.textContent = shown.labels.join(", ");
    this.said.textContent = shown.said;
    this.load();
    document.body.append(this.root);
    const own = this.root.getBoundingClientRect();
    const box = near.getBoundingClientRect();
    const panel = (near.closest(".s2v-grid") ?? near).getBoundingClientRect();
    // Beside the panel, so that no other cell is hidden; where there is no room, beside the cell.
    const places = [panel, box].flatMap((one) => [one.right + APART, one.left - APART - own.width]);
    const x = places.find((left) => left >= 4 && left + own.width <= innerWidth - 4) ?? 4;
    const y = Math.max(4, Math.min(box.top + box.height / 2 - own.height / 2, innerHeight - own.height - 4));
    Object.assign(this.root.style, { left: `${Math.round(x)}px`, top: `${Math.round(y)}px` });
    shown.draw(this.canvas);
  }

  load() {
    const { sweep, id, state } = this.shown;
    const path = state.state === "stored" ? api.apiURL(address("clip", { sweep, id, v: state.version })) : "";
    if (this.video.dataset.path === path) return;
    this.video.dataset.path = path;
    this.video.dataset.ready = "";
    if (path) this.video.src = path;
    else this.video.removeAttribute("src");
  }

  /** The page's clock: the film at once, the video as soon as it can follow. */
  tick(clock) {
    if (!this.root.isConnected) return;
    this.shown.draw(this.canvas);
    const { video } = this;
    if (video.dataset.ready !== "yes") return;
    const wanted = Math.min(clock.seconds, video.duration - 0.01);
    if (clock.playing && video.paused && clock.seconds < video.duration) video.play().catch(() => {});
    if (!clock.playing && !video.paused) video.pause();
    if (Math.abs(video.currentTime - wanted) > (clock.playing ? LATE : 0.001) && !video.seeking)
      video.currentTime = wanted;
  }

  close() {
    clearTimeout(this.timer);
    this.root.remove();
    this.video.pause();
  }
}
