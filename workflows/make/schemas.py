"""The nodes' forms as a host describes them (``/object_info``), in the order in which a saved workflow holds values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "Skeleton2Video_"
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")

# Loads the pack as a host does and prints what it would answer for its nodes.
_LOAD = """
import asyncio, importlib.util, json, sys
host, pack_folder, base = sys.argv[1:]
sys.argv = ["main.py", "--cpu", "--base-directory", base]
sys.path.insert(0, host)
import comfy.options
comfy.options.enable_args_parsing()
import folder_paths
spec = importlib.util.spec_from_file_location(
    "skeleton2video", pack_folder + "/__init__.py", submodule_search_locations=[pack_folder])
pack = importlib.util.module_from_spec(spec)
sys.modules["skeleton2video"] = pack
spec.loader.exec_module(pack)
nodes = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
info = {}
for node in nodes:
    node.INPUT_TYPES()
    node.RELATIVE_PYTHON_MODULE = "custom_nodes.skeleton2video"
    info[node.define_schema().node_id] = node.GET_NODE_INFO_V1()
print("INFO" + json.dumps(info))
"""


@dataclass(frozen=True)
class Field:
    """One input. ``type``: the socket's type, or one of WIDGETS. ``default``: None where there is none.

    ``seed``: the browser keeps behind its value whether it is "fixed". ``upload``: a button to upload files follows.
    ``choices``: of a combo whose choices do not depend on files; else empty.
    """

    name: str
    type: str
    optional: bool = False
    default: Any = None
    label: str = ""
    tooltip: str = ""
    seed: bool = False
    upload: bool = False
    multiline: bool = False
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def is_widget(self) -> bool:
        """Whether it is a field with a value."""
        return self.type in WIDGETS


@dataclass(frozen=True)
class Output:
    """One output."""

    name: str
    type: str
    tooltip: str = ""


@dataclass(frozen=True)
class Schema:
    """A node's form. ``fields`` in the order of the form: required ones, then optional ones."""

    type: str
    title: str
    fields: tuple[Field, ...]
    outputs: tuple[Output, ...]
    category: str = ""
    description: str = ""

    def field(self, name: str) -> Field:
        """The input of this name; KeyError lists the others."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"{self.type} has no input {name!r}; it has {', '.join(field.name for field in self.fields)}")

    def output(self, name: str) -> int:
        """The place of the output of this name; KeyError lists the others."""
        names = [output.name for output in self.outputs]
        if name not in names:
            raise KeyError(f"{self.type} has no output {name!r}; it has {', '.join(names)}")
        return names.index(name)

    @property
    def widgets(self) -> Iterator[tuple[Field, tuple[Any, ...]]]:
        """Every field with a value, and what stands behind it in a saved graph.

        The browser adds an upload button behind all fields; its value may be left out, so that fields that come later
        find theirs.
        """
        for field in self.fields:
            if field.is_widget:
                yield field, ("fixed",) if field.seed else ()


def read_info(root: Path | None = None) -> dict[str, Any]:
    """What a host in ``root`` (COMFY_ROOT, else ~/comfy/ComfyUI) says of the pack's nodes. No server is started."""
    root = root or Path(os.environ.get("COMFY_ROOT") or Path.home() / "comfy" / "ComfyUI")
    environment = dict(os.environ, PYTHONPATH=os.environ.get("COMFY_OVERLAY", ""), PYTHONDONTWRITEBYTECODE="1")
    with tempfile.TemporaryDirectory() as base:
        for folder in ("input", "output", "models"):
            (Path(base) / folder).mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _LOAD, str(root), str(ROOT), base],
            cwd=base, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"The nodes cannot be read in {root}:\n{done.stderr[-3000:]}")
    line = next(line for line in done.stdout.splitlines() if line.startswith("INFO"))
    info: dict[str, Any] = json.loads(line.removeprefix("INFO"))
    return info


@cache
def read_schemas(root: Path | None = None) -> Mapping[str, Schema]:
    """The pack's nodes by their type, in the extension's order, and the host's own nodes that the workflows use."""
    return {**schemas_of(read_info(root)), **CORE}


def schemas_of(info: Mapping[str, Any]) -> dict[str, Schema]:
    """The pack's nodes out of ``/object_info``."""
    return {name: _schema(name, entry) for name, entry in info.items() if name.startswith(PREFIX)}


def _schema(name: str, entry: Mapping[str, Any]) -> Schema:
    fields = []
    for part in ("required", "optional"):
        for field, spec in entry["input"].get(part, {}).items():
            fields.append(_field(field, spec, part == "optional"))
    tooltips = entry.get("output_tooltips") or [""] * len(entry["output"])
    outputs = tuple(map(Output, entry["output_name"], entry["output"], tooltips))
    return Schema(name, entry["display_name"], tuple(fields), outputs, entry["category"], entry["description"])


def _field(name: str, spec: Any, optional: bool) -> Field:
    kind, said = spec[0], spec[1] if len(spec) > 1 else {}
    choices = said.get("options", kind if isinstance(kind, list) else [])
    default = said.get("default")
    return Field(
        name,
        "COMBO" if isinstance(kind, list) else kind,
        optional,
        default,
        said.get("display_name") or "",
        said.get("tooltip", ""),
        seed=bool(said.get("control_after_generate")),
        upload=bool(said.get("image_upload") or said.get("video_upload")),
        multiline=bool(said.get("multiline")),
        # Read in an empty folder, what depends on files has no choices but its default.
        choices=tuple(choices) if len(choices) > 1 else (),
        low=said.get("min"),
        high=said.get("max"),
    )


def _core(type: str, title: str, fields: tuple[Field, ...], *outputs: tuple[str, str]) -> tuple[str, Schema]:
    return type, Schema(type, title, fields, tuple(Output(name, kind) for name, kind in outputs))


def _widget(name: str, type: str, default: Any, **more: Any) -> Field:
    return Field(name, type, default=default, **more)


# The host's own nodes that the workflows use: what both ends of the supported hosts have of them.
CORE: Mapping[str, Schema] = dict(
    (
        _core("LoadImage", "Load Image", (_widget("image", "COMBO", "", upload=True),), ("IMAGE", "IMAGE"),
              ("MASK", "MASK")),
        _core("PreviewImage", "Preview Image", (Field("images", "IMAGE"),)),
        _core("SaveImage", "Save Image", (Field("images", "IMAGE"), _widget("filename_prefix", "STRING", "ComfyUI"))),
        _core("ImageFromBatch", "ImageFromBatch",
              (Field("image", "IMAGE"), _widget("batch_index", "INT", 0), _widget("length", "INT", 1)),
              ("IMAGE", "IMAGE")),
        _core("CreateVideo", "Create Video",
              (Field("images", "IMAGE"), _widget("fps", "FLOAT", 30.0), Field("audio", "AUDIO", optional=True)),
              ("VIDEO", "VIDEO")),
        _core("SaveVideo", "Save Video",
              (Field("video", "VIDEO"), _widget("filename_prefix", "STRING", "video/ComfyUI"),
               _widget("format", "COMBO", "auto"), _widget("codec", "COMBO", "auto"))),
        _core("PreviewAny", "Preview as Text", (Field("source", "*"),)),
        _core("MarkdownNote", "Markdown Note", (_widget("", "STRING", "", multiline=True),)),
    )
)  # fmt: skip
