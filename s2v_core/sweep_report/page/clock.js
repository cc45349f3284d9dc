// The one clock of all players, and the bar that moves it.
const SPEEDS = [0.1, 0.25, 0.5, 1, 1.5, 2];
const clock = { playing: false, speed: 1, loop: true, begin: 0, from: 0 };

function seek(frame) {
  state.frame = Math.max(0, Math.min(facts.frames - 1, Math.round(frame)));
  clock.begin = performance.now();
  clock.from = state.frame;
  changed("frame");
}

function play(playing = !clock.playing) {
  clock.playing = playing && facts.frames > 1;
  if (clock.playing) {
    if (state.frame === facts.frames - 1) state.frame = 0;
    clock.begin = performance.now();
    clock.from = state.frame;
    requestAnimationFrame(advance);
  }
  changed("playing", "frame");
}

function advance(now) {
  if (!clock.playing) return;
  let frame = clock.from + Math.max(0, Math.floor(((now - clock.begin) / 1000) * facts.fps * clock.speed));
  if (frame >= facts.frames) {
    if (clock.loop) {
      frame %= facts.frames;
    } else {
      frame = facts.frames - 1;
      clock.playing = false;
      changed("playing");
    }
  }
  if (frame !== state.frame) {
    state.frame = frame;
    changed("frame");
  }
  if (clock.playing) requestAnimationFrame(advance);
}

function step(by) {
  if (clock.playing) play(false);
  seek((state.frame + by + facts.frames) % facts.frames);
  announce(`Frame ${state.frame + 1} of ${facts.frames}`);
}

function setSpeed(speed) {
  clock.speed = speed;
  clock.begin = performance.now();
  clock.from = state.frame;
  changed("speed");
}

function changeSpeed(by) {
  const at = SPEEDS.indexOf(clock.speed) + by;
  if (at < 0 || at >= SPEEDS.length) return;
  setSpeed(SPEEDS[at]);
  announce(`Speed ${clock.speed}`);
}

const icon = (path) => svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true", class: "icon" }, svg("path", { d: path }));
const ICONS = {
  play: "M4 2.5v11l9-5.5z",
  pause: "M4 2.5h3v11H4zM9.5 2.5h3v11h-3z",
  back: "M12 3v10L5.5 8zM3.5 3H5v10H3.5z",
  next: "M4 3v10l6.5-5zM11 3h1.5v10H11z",
  loop: "M3 8a4 4 0 0 1 4-4h4V2l3.2 2.8L11 7.6V5.6H7A2.4 2.4 0 0 0 4.6 8zM13 8a4 4 0 0 1-4 4H5v2l-3.2-2.8L5 8.4v2h4A2.4 2.4 0 0 0 11.4 8z",
  close: "M3.2 2.1 8 6.9l4.8-4.8 1.1 1.1L9.1 8l4.8 4.8-1.1 1.1L8 9.1l-4.8 4.8-1.1-1.1L6.9 8 2.1 3.2z",
  compare: "M1.5 2.5h6v11h-6zM8.8 2.5h5.7v11H8.8v-1.3h4.4V3.8H8.8z",
  open: "M2 2h5v1.4H4.4l3.3 3.3-1 1-3.3-3.3V7H2zM14 14H9v-1.4h2.6L8.3 9.3l1-1 3.3 3.3V9H14z",
};

function makeTransport() {
  const button = (name, label, keys, click) =>
    el("button", { type: "button", class: `transport-${name}`, "aria-label": label, title: `${label} (${keys})`, onclick: click }, icon(ICONS[name]));
  const playing = button("play", "Play", "Space", () => play());
  const loop = button("loop", "Loop", "L", () => {
    clock.loop = !clock.loop;
    changed("loop");
  });
  const slider = el("input", {
    ...{ type: "range", id: "scrubber", min: 0, max: facts.frames - 1, step: 1, value: 0, "aria-label": "Frame" },
    oninput: () => {
      if (clock.playing) play(false);
      seek(Number(slider.value));
    },
  });
  const time = el("output", { class: "time", for: "scrubber" });
  const speed = choice("Speed", SPEEDS.map((one) => [one, `${one}×`]), 1, (value) => setSpeed(Number(value)));
  byId("transport").append(
    button("back", "Frame back", ",", () => step(-1)),
    playing,
    button("next", "Frame on", ".", () => step(1)),
    slider,
    time,
    speed,
    loop,
  );
  on("frame", () => {
    slider.value = state.frame;
    const share = facts.frames > 1 ? (100 * state.frame) / (facts.frames - 1) : 0;
    slider.style.setProperty("--share", `${share}%`);
    const seconds = state.frame / facts.fps;
    const width = String(facts.frames).length;
    time.textContent = `${String(state.frame + 1).padStart(width, "\u2007")} / ${facts.frames} · ${seconds.toFixed(2)} s`;
    slider.setAttribute("aria-valuetext", `frame ${state.frame + 1} of ${facts.frames}, ${seconds.toFixed(2)} seconds`);
  });
  on("playing", () => {
    playing.replaceChildren(icon(clock.playing ? ICONS.pause : ICONS.play));
    playing.setAttribute("aria-label", clock.playing ? "Pause" : "Play");
    playing.title = `${clock.playing ? "Pause" : "Play"} (Space)`;
  });
  on("loop", () => loop.setAttribute("aria-pressed", clock.loop));
  on("speed", () => {
    speed.querySelector("select").value = clock.speed;
  });
  changed("frame", "playing", "loop");
}
