// Films of cells: fetched two at a time, drawn frame by frame, all by one clock.
import { api } from "../../../scripts/api.js";

const TILES = [96, 160, 256, 384]; // the sizes that the server makes
const AT_ONCE = 2; // browsers have six connections to a host, and the graph needs some
const HEADER = "X-Skeleton2Video-Film";

export const address = (what, asked) => `/skeleton2video/${what}?${new URLSearchParams(asked)}`;

/** The answer to a question, or an Error with the server's words. */
export async function ask(path, options) {
  const response = await api.fetchApi(path, options);
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw Object.assign(new Error(said.problem ?? `The server answers ${response.status}.`), { status: response.status });
}

const waiting = [];
let running = 0;

function next() {
  while (running < AT_ONCE && waiting.length) {
    const work = waiting.shift();
    running++;
    work().finally(() => {
      running--;
      next();
    });
  }
}

/** The tile size for frames that are shown so many pixels wide and high, and are not larger than these. */
export const tileFor = (shown, own) => TILES.find((tile) => tile >= Math.min(shown, own)) ?? TILES.at(-1);

/** The film of one clip; `load` may be asked again for a larger one. */
export class Film {
  constructor(sweep, id, state) {
    Object.assign(this, { sweep, id, state, tile: 0, picture: null, shape: null, problem: "" });
  }

  /** Fetch it in this size unless there is one as large; `done` is called when there is something new. */
  load(tile, done) {
    if (tile <= this.tile || this.problem) return;
    this.tile = tile;
    const asked = { sweep: this.sweep, id: this.id, tile, v: this.state.version };
    waiting.push(async () => {
      if (this.closed || tile < this.tile) return;
      try {
        const response = await ask(address("film", asked));
        const shape = JSON.parse(response.headers.get(HEADER));
        const picture = await createImageBitmap(await response.blob());
        if (this.closed) return picture.close();
        this.picture?.close();
        Object.assign(this, { picture, shape });
      } catch (error) {
        if (this.closed) return;
        this.problem = error.status === 404 ? error.message : "";
        this.tile = 0; // a server that is gone is asked again later
      }
      done(this);
    });
    next();
  }

  /** Draw the clip's frame of this number, or its last one, into a canvas. */
  draw(canvas, frame) {
    if (!this.picture) return;
    const { width, height, columns, count, stride } = this.shape;
    const index = Math.min(Math.floor(frame / stride), count - 1);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const [x, y] = [(index % columns) * width, Math.floor(index / columns) * height];
    canvas.getContext("2d").drawImage(this.picture, x, y, width, height, 0, 0, width, height);
  }

  close() {
    this.closed = true;
    this.picture?.close();
    this.picture = null;
  }
}

/** The time that all cells of a page share. `frames`: of the longest; `tick(frame)` is called when it changes. */
export class Clock {
  constructor(tick) {
    Object.assign(this, { tick, frames: 1, fps: 16, frame: 0, playing: false, then: 0, rest: 0 });
    this.step = this.step.bind(this);
  }

  /** Seconds from the beginning to the middle of the frame that is shown. */
  get seconds() {
    return (this.frame + 0.5) / this.fps;
  }

  play(on) {
    if (this.playing === on) return;
    this.playing = on;
    this.then = performance.now();
    this.rest = 0;
    if (on) requestAnimationFrame(this.step);
  }

  show(frame) {
    this.frame = Math.max(0, Math.min(frame, this.frames - 1));
    this.tick(this.frame);
  }

  step(now) {
    if (!this.playing) return;
    requestAnimationFrame(this.step);
    // A page that was hidden goes on where it was.
    this.rest += Math.min(now - this.then, 250) * (this.fps / 1000);
    this.then = now;
    const passed = Math.floor(this.rest);
    if (passed < 1) return;
    this.rest -= passed;
    this.frame = (this.frame + passed) % this.frames;
    this.tick(this.frame);
  }

  stop() {
    this.playing = false;
  }
}
