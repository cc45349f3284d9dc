"""A sweep as one page in the browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..s2v_core.errors import S2VError
from ..s2v_core.files import safe_join
from ..s2v_core.options import options
from ..s2v_core.sweep_report.options import ReportOptions
from . import host, sockets
from .grids import MOST_REFERENCES

ROUTE = "/skeleton2video/report"
STEM = "report"
# The page gets no more of the host than of any other site: its script runs, and reaches nothing.
_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-popups allow-downloads",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class SweepReport(io.ComfyNode):
    """Writes the page."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_SweepReport",
            display_name="Sweep Report",
            category="Skeleton2Video/sweep",
            description=(
                "Writes a sweep as one web page: every cell plays in step, with its scores, heat-maps, curves and what "
                "they say of the article's claims; two cells can be wiped against each other, and a cell's settings "
                "copied. The button opens it in a browser tab. The file needs no ComfyUI and no network."
            ),
            inputs=[
                sockets.Sweep.Input("sweep", tooltip="From Run Sweep or Score Sweep."),
                io.String.Input("title", default="", tooltip="The page's title; the sweep's name when empty."),
                io.Image.Input("control_video", optional=True, tooltip="Shown above the cells, in step with them."),
                io.Image.Input("reference", optional=True, tooltip="Shown above the cells; up to 4 pictures."),
                # A page that the host hands out is one file.
                *(host.widget(entry, optional=True) for entry in options(ReportOptions) if entry.name != "beside"),
            ],
            outputs=[io.String.Output("path", display_name="path", tooltip="The page's file.")],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, sweep: Any, title: str, control_video: Any = None, reference: Any = None, **chosen: Any
    ) -> io.NodeOutput:
        """Write it, and tell the browser where it is."""
        from ..s2v_core.sweep_report.analyse import analyse
        from ..s2v_core.sweep_report.write import write_report

        file = host.free_path(sweep.store.folder.parent, STEM, ".html")
        with host.interruptible() as should_stop:
            write_report(
                sweep,
                file,
                options=ReportOptions(**chosen),
                findings=analyse(sweep),
                inputs=_inputs(control_video, reference),
                title=title.strip(),
                on_progress=host.Progress(1),
                should_stop=should_stop,
            )
        return io.NodeOutput(str(file), ui={"skeleton2video_report": [place_of(file)]})


def place_of(file: Path) -> str:
    """How the browser asks for a page: its path below the pack's output folder."""
    return file.resolve().relative_to(_root()).as_posix()


def read_page(place: str) -> bytes:
    """A page by its place. Raises ``SettingsError`` for a path that leaves the folder, ``OSError`` for no such page."""
    path = safe_join(_root(), place)
    if path.suffix != ".html" or not path.name.startswith(STEM):
        raise FileNotFoundError(place)
    return path.read_bytes()


def add_routes() -> None:
    """Hand out pages: the host itself lets HTML be downloaded only. Without a running server nothing happens."""
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if server is None:
        return
    from aiohttp import web

    async def answer(request: Any) -> Any:
        try:
            page = read_page(request.query.get("place", ""))
        except (S2VError, OSError):
            return web.Response(status=404, text="There is no such report.")
        # Sent before the host's own layers see it: with --disable-api-nodes they put a policy in place of this stricter
        # one that lets scripts reach the host, and forbids the page's clips.
        response = web.StreamResponse(headers=_HEADERS)
        response.content_type, response.charset = "text/html", "utf-8"
        response.content_length = len(page)
        await response.prepare(request)
        await response.write(page)
        await response.write_eof()
        return response

    server.routes.get(ROUTE)(answer)


def _root() -> Path:
    # Any name: the folder of all of them is above it.
    return host.output_folder(STEM).parent


def _inputs(control_video: Any, reference: Any) -> dict[str, Any]:
    from ..s2v_core.sweep_report.inputs import CONTROL, REFERENCE

    found = {}
    if control_video is not None:
        found[CONTROL] = host.to_frames(control_video, "control_video")
    if reference is not None:
        pictures = host.some_pictures(reference, "reference", MOST_REFERENCES)
        for number, picture in enumerate(pictures, start=1):
            found[REFERENCE if len(pictures) == 1 else f"{REFERENCE} {number}"] = picture[None]
    return found
