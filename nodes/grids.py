"""Looking at a sweep: the labelled grid, and single cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io, ui

from ..s2v_core.errors import SettingsError
from ..s2v_core.options import options
from ..s2v_core.sweeps.gridoptions import GridOptions
from ..s2v_core.sweeps.pick import PickOptions
from . import host, live, sockets

FORMATS = {"mp4 and webp": (".mp4", ".webp"), "mp4": (".mp4",), "mp4 and gif": (".mp4", ".gif")}
MOST_REFERENCES = 4


class SweepGrid(io.ComfyNode):
    """Draws the cells side by side."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_SweepGrid",
            display_name="Sweep Grid",
            category="Skeleton2Video/sweep",
            description=(
                "Puts the cells of a sweep side by side, in step, with the axes' values as headers. Saves the grid as "
                "video and a contact sheet as PNG in output/skeleton2video/<name>; each file carries its settings and "
                "this workflow."
            ),
            inputs=[
                sockets.Sweep.Input("sweep", tooltip="From Run Sweep."),
                io.Int.Input(
                    "page",
                    default=1,
                    min=1,
                    max=1000,
                    tooltip=(
                        "Where axes are pages: the page that the outputs carry. All pages are saved. With the layout "
                        "auto, a page above 1 asks for pages."
                    ),
                ),
                io.Image.Input("control_video", optional=True, tooltip="Shown above the cells, in step with them."),
                io.Image.Input("reference", optional=True, tooltip="Shown above the cells; up to 4 pictures."),
                *(host.widget(entry, optional=True) for entry in options(GridOptions)),
                io.Combo.Input(
                    "format",
                    options=list(FORMATS),
                    default="mp4 and webp",
                    optional=True,
                    tooltip="The videos that are saved. GIF plays everywhere, with 256 colours and large files.",
                ),
                io.Boolean.Input(
                    "all_frames",
                    default=True,
                    optional=True,
                    tooltip="Off: the output grid holds the first frame only. Saves memory with large grids.",
                ),
            ],
            outputs=[
                io.Image.Output("grid", display_name="grid", tooltip="The frames of the grid."),
                io.Video.Output("video", display_name="video", tooltip="The grid as a video."),
                io.Image.Output("sheet", display_name="contact sheet", tooltip="Three frames of each cell."),
                io.String.Output("summary", display_name="summary", tooltip="What was computed, and where it lies."),
            ],
            hidden=list(host.GRAPH),
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        sweep: Any,
        page: int,
        control_video: Any = None,
        reference: Any = None,
        format: str = "mp4 and webp",
        all_frames: bool = True,
        **chosen: Any,
    ) -> io.NodeOutput:
        """Draw and save."""
        from ..s2v_core.sweeps.grid import grid_clip, pages, write_contact_sheet, write_grid
        from ..s2v_core.video.still import read_reference

        host.check_choice("format", format, FORMATS)
        if page > 1 and chosen.get("layout", "auto") == "auto":
            chosen["layout"] = "pages"
        how = GridOptions(**chosen)
        count = pages(sweep.sweep, how.layout)
        if page > count:
            raise SettingsError(f"There is no page {page}.", expected=f"1 to {count}", got=str(page))
        inputs = _inputs(control_video, reference)
        folder = sweep.store.folder.parent
        graph = host.graph(cls)
        progress = host.Progress(1)
        files: list[Path] = []
        sheets: list[Path] = []
        with host.interruptible() as should_stop:
            for number in range(count):
                drawn: dict[str, Any] = {"options": how, "inputs": inputs, "metadata": graph, "page": number}
                file = host.free_path(folder, "grid", ".mp4")
                for suffix in FORMATS[format]:
                    write_grid(sweep, file.with_suffix(suffix), on_progress=progress, should_stop=should_stop, **drawn)
                sheets += write_contact_sheet(sweep, file.with_suffix(".png"), **drawn)
                files.append(file)
        shown = grid_clip(sweep, options=how, inputs=inputs, page=page - 1, frames=None if all_frames else 1).frames
        return io.NodeOutput(
            host.to_image(shown),
            host.video_of(files[page - 1]),
            host.to_image(read_reference(sheets[page - 1])[None]),
            _summary(sweep, files),
            ui=_Shown([host.saved(file) for file in files], live.shelf().put(folder)),
        )


class PickCell(io.ComfyNode):
    """One finished cell out of a sweep."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_PickCell",
            display_name="Pick Cell",
            category="Skeleton2Video/sweep",
            description=(
                "Takes one cell out of a sweep: by its number, by its labels, or the best by a score. Saves it as mp4 "
                "with its settings and this workflow."
            ),
            inputs=[
                sockets.Sweep.Input("sweep", tooltip="From Run Sweep."),
                *(host.widget(entry) for entry in options(PickOptions)),
            ],
            outputs=[
                io.Image.Output("frames", display_name="frames", tooltip="The frames of the cell."),
                io.Video.Output("video", display_name="video", tooltip="The cell as a video."),
                sockets.Prompt.Output("prompt", display_name="prompt", tooltip="Its prompt, for Wan-VACE Sampler."),
                io.String.Output("settings", display_name="settings", tooltip="Its settings, one a line."),
                io.String.Output("labels", display_name="labels", tooltip="Its labels, such as guidance 5, seed 0."),
            ],
            hidden=list(host.GRAPH),
            is_output_node=True,
        )

    @classmethod
    def execute(cls, sweep: Any, **chosen: Any) -> io.NodeOutput:
        """Choose, save and hand on."""
        from ..s2v_core.sweeps.pick import cell_metadata, pick_cell, settings_text
        from ..s2v_core.video.write import write_clip

        cell = pick_cell(sweep, PickOptions(**chosen))
        clip = sweep.clip(cell)
        file = host.free_path(sweep.store.folder.parent, "cell", ".mp4")
        write_clip(clip, file, metadata={**cell_metadata(sweep, cell), **host.graph(cls)})
        return io.NodeOutput(
            host.to_image(clip.frames),
            host.video_of(file),
            cell.prompt,
            settings_text(cell),
            ", ".join(cell.labels),
            ui=ui.PreviewVideo([host.saved(file)]),
        )


class _Shown(ui.PreviewVideo):
    """The saved videos, and for the node's page in the browser which sweep they are of."""

    def __init__(self, files: list[Any], key: str) -> None:
        super().__init__(files)
        self.key = key

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), live.SHOWN: [self.key]}


def _inputs(control_video: Any, reference: Any) -> dict[str, Any]:
    found = {}
    if control_video is not None:
        found["control video"] = host.to_frames(control_video, "control_video")
    if reference is not None:
        pictures = host.some_pictures(reference, "reference", MOST_REFERENCES)
        for number, picture in enumerate(pictures, start=1):
            found["reference" if len(pictures) == 1 else f"reference {number}"] = picture[None]
    return found


def _summary(result: Any, files: list[Any]) -> str:
    lines = [
        f"{len(result.cells)} cells: {len(result.computed)} computed, {len(result.reused)} taken from the store, "
        f"{len(result.failed)} failed, {result.seconds:.1f} s",
        f"cells: {result.store.folder}",
        *(f"grid: {file}" for file in files),
        *(f"failed: {reason}" for reason in result.failed.values()),
    ]
    return "\n".join(lines)
