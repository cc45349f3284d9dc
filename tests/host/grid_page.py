"""A graph with a sweep, its grid and a sampler, and what a page shows of it: for the tests in a browser."""

from __future__ import annotations

from typing import Any

from tests.host.browser import Browser

GRID = "app.graph.nodes.find((node) => node.type === 'Skeleton2Video_SweepGrid')"
LORA = "article.safetensors"
STEPS = 150  # enough that a run can be stopped before it is at its end, on a quick machine too
SIZE = {"width": 64, "height": 64, "frames": 5, "shift": 5.0, "control_strength": 1.0}
PLAIN = {"fit": "letterbox", "solver": "euler", "precision": "float32", "tiling": False}


def graph(name: str, *, steps: int = STEPS, guidance: str = "1, 3", strengths: str = "0, 1") -> dict[str, Any]:
    """In API form; the nano model, small pictures. Node 7 runs the sweep, 8 shows it, 10 is the sampler."""

    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": f"Skeleton2Video_{kind}", "inputs": inputs}

    common = {"model": ["1", 0], "prompt": ["2", 2], "control_video": ["3", 0], "reference": ["2", 1], **SIZE, **PLAIN}
    drawn = {"palette": "vace", "layers": "body + face", "width": 0, "height": 0, "stick": "fixed"}
    swept = {"steps": steps, "guidance": 3.0, "seed": 1}
    return {
        "1": node("LoadNanoWanVace"),
        "2": node("DrawnDancer", number=4),
        "3": node("DrawPose", pose=["2", 0], **drawn),
        "4": node("SweepAxis", axis="guidance", values=guidance),
        "5": node("SweepAxis", axis="lora_strength", values=strengths, axes=["4", 0]),
        "6": node("WanVaceLora", lora=LORA, strength=1.0),
        "7": node("RunSweep", axes=["5", 0], name=name, loras=["6", 0], **common, **swept),
        "8": node("SweepGrid", sweep=["7", 0], page=1, format="mp4"),
        "9": node("WanVaceLora", lora=LORA, strength=0.3),
        "10": node("WanVaceSampler", loras=["9", 0], **common, steps=30, guidance=5.0, seed=77),
    }


class Page(Browser):
    """A browser with such a graph."""

    def show(self, prompt: dict[str, Any], *, size: tuple[int, int] = (560, 720)) -> None:
        """Open the graph, with grid and sampler side by side in view."""
        # Opened twice: only a graph in UI form says where its nodes are in every kind of frontend.
        self.evaluate(
            """async ([prompt, [width, height]]) => {
                await app.loadApiJson(prompt, 'grid');
                const graph = app.graph.serialize();
                const node = (kind) => graph.nodes.find((one) => one.type === `Skeleton2Video_${kind}`);
                Object.assign(node('SweepGrid'), { pos: [2000, 0], size: [width, height] });
                const sampler = node('WanVaceSampler');
                if (sampler) sampler.pos = [2000 + width + 60, 0];
                await app.loadGraphData(graph, true, true);
                app.canvas.ds.scale = 1;
                app.canvas.ds.offset = [-1900, 110];
                app.canvas.setDirty(true, true);
            }""",
            [prompt, list(size)],
        )
        self.wait(f"() => {GRID}?.skeleton2video?.root.isConnected")

    @property
    def frontend(self) -> tuple[int, ...]:
        """The frontend's version."""
        return tuple(map(int, self.evaluate("() => window.__COMFYUI_FRONTEND_VERSION__").split(".")))

    @property
    def said(self) -> str:
        return self.evaluate(f"() => {GRID}.skeleton2video.said.textContent")

    @property
    def states(self) -> dict[str, str]:
        """Place on the grid -> state of the cell, as the page marks it."""
        cells = "[...document.querySelectorAll('.s2v-cell')]"
        return self.evaluate(f"() => Object.fromEntries({cells}.map((one) => [one.dataset.at, one.dataset.state]))")

    @property
    def painted(self) -> list[str]:
        """The places of the cells whose canvas shows something."""
        return self.evaluate(
            """() => [...document.querySelectorAll('.s2v-cell')].filter((cell) => {
                const canvas = cell.querySelector('canvas');
                if (canvas.hidden || canvas.width < 2) return false;
                const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
                return data.some((value, at) => at % 4 !== 3 && value > 40);
            }).map((cell) => cell.dataset.at)"""
        )

    def wait_painted(self, count: int) -> None:
        """Until so many cells of the grid show their film."""
        films = f"[...{GRID}.skeleton2video.films.values()].filter((film) => film.picture)"
        self.wait(f"(count) => {films}.length >= count", count)

    def values(self, id: int) -> dict[str, Any]:
        """The fields of a node."""
        widgets = f"app.graph.getNodeById({id}) ?? app.graph.getNodeById('{id}')"
        return self.evaluate(
            f"() => Object.fromEntries(({widgets}).widgets.filter((one) => !one.element)"
            ".map((one) => [one.name, one.value]))"
        )

    @property
    def last(self) -> dict[str, Any]:
        """What the page says it has set."""
        return self.evaluate(f"() => {GRID}.skeleton2video.last")

    def overlaps(self) -> list[str]:
        """Pairs of texts and cells of the panel that lie on one another."""
        return self.evaluate(
            """() => {
                const all = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.offsetParent);
                const box = (one) => one.getBoundingClientRect();
                const within = (a, b, side, end) => a[side] < b[end] - 1 && b[side] < a[end] - 1;
                const meet = (a, b) => within(a, b, 'left', 'right') && within(a, b, 'top', 'bottom');
                const name = (one) => one.textContent || one.className;
                const heads = all('.s2v-head').filter((one) => one.textContent.trim());
                const view = box(document.querySelector('.s2v-scroll'));
                const scrolled = document.querySelector('.s2v-scroll');
                // Cells that are scrolled pass below the headers, and rows below the corner.
                const moved = scrolled.scrollTop || scrolled.scrollLeft;
                const columns = heads.filter((one) => one.matches('.s2v-column'));
                const shown = moved ? columns : [...heads, ...all('.s2v-cell')];
                const table = shown.filter((one) => meet(box(one), view));
                const found = [];
                for (const group of [table, all('.s2v-bar > *, .s2v-told')])
                    group.forEach((a, at) => {
                        const over = group.slice(at + 1).filter((b) => meet(box(a), box(b)));
                        found.push(...over.map((b) => `${name(a)} / ${name(b)}`));
                    });
                const out = (one, text) => text.right > one.right + 1 || text.left < one.left - 1;
                return [...found, ...heads.filter((one) => out(box(one), box(one.firstChild))).map(name)];
            }"""
        )

    def contrasts(self) -> dict[str, float]:
        """Of the panel's texts against its ground, as WCAG counts it."""
        return self.evaluate(
            """() => {
                const root = document.querySelector('.s2v-grid');
                const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
                const context = canvas.getContext('2d', { willReadFrequently: true });
                const light = (...colours) => {
                    for (const colour of colours) (context.fillStyle = colour), context.fillRect(0, 0, 1, 1);
                    const [red, green, blue] = [...context.getImageData(0, 0, 1, 1).data].map((value) => {
                        const share = value / 255;
                        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
                    });
                    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
                };
                const ground = getComputedStyle(root).backgroundColor;
                const found = {};
                for (const kind of ['.s2v-said', '.s2v-column', '.s2v-row', '.s2v-corner', '.s2v-told', '.s2v-count']) {
                    const one = root.querySelector(kind);
                    const style = getComputedStyle(one);
                    const below = [ground, style.backgroundColor];
                    const pair = [light(...below), light(...below, style.color)];
                    found[kind] = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
                }
                return found;
            }"""
        )

    def own_problems(self) -> list[str]:
        """Errors of the page that this pack's scripts have a part in."""
        return [problem for problem in self.do("problems") if "skeleton2video" in problem.lower() or "s2v" in problem]
