// Clips: sheets with all frames in one picture, decoded when they come into view and forgotten when memory is short;
// and single frames in full size out of the videos, for the large view.
const SHEET_MEMORY = 640 * 2 ** 20; // bytes of decoded sheets
const VIDEO_MEMORY = 220 * 2 ** 20; // bytes of decoded frames of one video
const AT_ONCE = 4;

// Where a file of the page is: inside it, or beside it.
const urlOf = (name) => facts.files[name] ?? byId(`file-${name}`).textContent;

function blobOf(name) {
  const [head, body] = urlOf(name).split(",", 2);
  const bytes = Uint8Array.from(atob(body), (sign) => sign.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}

// Pictures beside a page on a disk can only be had through an element.
async function bitmapOf(name) {
  if (!facts.files[name]) return createImageBitmap(blobOf(name));
  const image = new Image();
  image.src = urlOf(name);
  await image.decode();
  return createImageBitmap(image);
}

const sheets = new Map(); // file -> {bitmap, bytes, used, waiting: [callbacks], wanted}
let sheetBytes = 0;
let decoding = 0;
let tick = 0;
const queue = [];
const inView = new Set(); // sheets of cells that are on the screen

// The decoded sheet of a clip, or null while it is being decoded; then() is called once it is there.
function sheetOf(clip, then) {
  let entry = sheets.get(clip.sheet);
  if (!entry) {
    entry = { clip, bitmap: null, bytes: 0, used: 0, waiting: [], failed: false };
    sheets.set(clip.sheet, entry);
  }
  entry.used = ++tick;
  if (entry.bitmap || entry.failed) return entry.bitmap;
  if (then) entry.waiting.push(then);
  if (!entry.queued) {
    entry.queued = true;
    queue.push(entry);
    decodeNext();
  }
  return null;
}

function decodeNext() {
  while (decoding < AT_ONCE && queue.length) {
    // What is still on the screen goes before what was scrolled past.
    const first = queue.findIndex(({ clip }) => inView.has(clip.sheet));
    const [entry] = queue.splice(Math.max(0, first), 1);
    decoding += 1;
    bitmapOf(entry.clip.sheet)
      .then((bitmap) => {
        entry.bitmap = bitmap;
        entry.bytes = bitmap.width * bitmap.height * 4;
        sheetBytes += entry.bytes;
      })
      .catch(() => {
        entry.failed = true; // a file beside the page that is gone: the cell says so
      })
      .finally(() => {
        decoding -= 1;
        entry.queued = false;
        const waiting = entry.waiting.splice(0);
        forgetSheets(entry);
        for (const then of waiting) then(entry);
        decodeNext();
        if (!decoding && !queue.length) changed("decoded");
      });
  }
}

function forgetSheets(newest) {
  if (sheetBytes <= SHEET_MEMORY) return;
  const idle = [...sheets.values()].filter(
    (entry) => entry.bitmap && entry !== newest && !inView.has(entry.clip.sheet),
  );
  idle.sort((one, other) => one.used - other.used);
  for (const entry of idle) {
    if (sheetBytes <= SHEET_MEMORY) return;
    sheetBytes -= entry.bytes;
    entry.bitmap.close();
    entry.bitmap = null;
  }
}

// The clip's own frame at a frame of the page; a clip that has ended holds its last one.
const frameOf = (clip, frame) => Math.min(clip.frames - 1, Math.floor((frame * clip.fps) / facts.fps + 1e-6));

// Draws a frame out of the sheet over the whole canvas; false while there is no sheet.
function drawSheet(context, clip, frame, then) {
  const bitmap = sheetOf(clip, then);
  if (!bitmap) return false;
  const number = Math.floor(frameOf(clip, frame) / clip.every);
  const [width, height] = clip.tile;
  const { canvas } = context;
  const [x, y] = [(number % clip.columns) * width, Math.floor(number / clip.columns) * height];
  context.drawImage(bitmap, x, y, width, height, 0, 0, canvas.width, canvas.height);
  return true;
}

// A clip in full size: its frames out of the video, each asked for once, the sheet's frame until it is there.
class FullClip {
  constructor(clip, drawn) {
    this.clip = clip;
    this.drawn = drawn; // called when a frame arrived
    this.frames = new Map();
    this.closed = false;
    this.failed = false;
    const [width, height] = clip.size;
    const bytes = width * height * 4 * clip.frames;
    this.scale = Math.min(1, Math.sqrt(VIDEO_MEMORY / bytes));
    if (clip.video) this.load();
  }

  // What the page shows first comes first, then the frames after it.
  async load() {
    const video = el("video", { muted: true, preload: "auto", playsinline: true });
    video.muted = true;
    this.video = video;
    this.url = facts.files[this.clip.video] ? null : URL.createObjectURL(blobOf(this.clip.video));
    const came = new Promise((done, fail) => {
      video.addEventListener("loadeddata", done, { once: true });
      video.addEventListener("error", fail, { once: true });
    });
    video.src = this.url ?? urlOf(this.clip.video);
    try {
      await came;
      for (let count = 0; count < this.clip.frames && !this.closed; count += 1) await this.fetch(this.next());
    } catch {
      this.failed = true; // a browser without this codec: the sheet stays
    }
    video.removeAttribute("src");
    video.load();
    if (this.url) URL.revokeObjectURL(this.url);
    if (!this.closed) this.drawn();
  }

  next() {
    const begin = frameOf(this.clip, state.frame);
    for (let step = 0; step < this.clip.frames; step += 1) {
      const number = (begin + step) % this.clip.frames;
      if (!this.frames.has(number)) return number;
    }
    return begin;
  }

  async fetch(number) {
    const { video } = this;
    const sought = new Promise((done, fail) => {
      video.addEventListener("seeked", done, { once: true });
      video.addEventListener("error", fail, { once: true });
    });
    // The middle of the frame: no rounding of times can give its neighbour.
    video.currentTime = (number + 0.5) / this.clip.fps;
    await sought;
    const [width, height] = this.clip.size.map((side) => Math.max(1, Math.round(side * this.scale)));
    const bitmap = await createImageBitmap(video, { resizeWidth: width, resizeHeight: height, resizeQuality: "high" });
    if (this.closed) return bitmap.close();
    this.frames.set(number, bitmap);
    if (number === frameOf(this.clip, state.frame)) this.drawn();
    return undefined;
  }

  get complete() {
    return !this.clip.video || this.failed || this.frames.size === this.clip.frames;
  }

  draw(context, frame) {
    const bitmap = this.frames.get(frameOf(this.clip, frame));
    if (!bitmap) return drawSheet(context, this.clip, frame, () => this.drawn());
    context.drawImage(bitmap, 0, 0, context.canvas.width, context.canvas.height);
    return true;
  }

  close() {
    this.closed = true;
    for (const bitmap of this.frames.values()) bitmap.close();
    this.frames.clear();
  }
}

// Full clips that are shown now or were a moment ago.
const fulls = new Map(); // sheet's name -> {full, users}
function openFull(clip, drawn) {
  let entry = fulls.get(clip.sheet);
  if (!entry) {
    entry = { users: new Set(), full: null };
    entry.full = new FullClip(clip, () => entry.users.forEach((tell) => tell()));
    fulls.set(clip.sheet, entry);
  } else {
    fulls.delete(clip.sheet);
    fulls.set(clip.sheet, entry); // the youngest is the last
  }
  entry.users.add(drawn);
  const idle = [...fulls].filter(([, other]) => !other.users.size);
  for (const [name, other] of idle.slice(0, Math.max(0, fulls.size - 3))) {
    other.full.close();
    fulls.delete(name);
  }
  return {
    draw: (context, frame) => entry.full.draw(context, frame),
    get complete() {
      return entry.full.complete;
    },
    get failed() {
      return entry.full.failed;
    },
    close: () => entry.users.delete(drawn),
  };
}

// In the large views the pixels of tiny clips stay square; all others are smooth.
const crisp = (clip) => Math.max(...clip.size) <= 160;
