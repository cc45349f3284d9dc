"""The door to ComfyUI: its forms, pictures, folders and server; with ``work`` and ``memory`` all that knows it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
from comfy.cli_args import args
from comfy_api.latest import InputImpl, Types, io, ui

from ..s2v_core.errors import ModelFileError, SettingsError, VideoError
from ..s2v_core.files import safe_join
from ..s2v_core.video.clip import Clip
from ..s2v_core.wan.settings import Option
from .memory import guest, load_engine, rendering, torch_device
from .work import STOPS, Progress, interrupted, interruptible

__all__ = ["STOPS", "Progress", "guest", "interrupted", "interruptible", "load_engine", "rendering", "torch_device"]

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".webp", ".gif", ".avi", ".m4v")
OUTPUT_NAME = "skeleton2video"


# Schemas


def widget(option: Option, **extra: Any) -> Any:
    """The form field of one setting: its type, default, range, choices and help come from the setting itself."""
    if option.choices:
        return io.Combo.Input(
            option.name, options=list(option.choices), default=option.default, tooltip=option.help, **extra
        )
    if isinstance(option.default, str):
        return io.String.Input(option.name, default=option.default, tooltip=option.help, **extra)
    if isinstance(option.default, bool):
        return io.Boolean.Input(option.name, default=option.default, tooltip=option.help, **extra)
    kind = io.Int if isinstance(option.default, int) else io.Float
    return kind.Input(
        option.name,
        default=option.default,
        min=option.minimum,
        max=option.maximum,
        step=option.step,
        tooltip=option.help,
        **extra,
    )


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise ``SettingsError`` for a value that a combo does not offer: host 0.3.64 does not check it."""
    if value not in (known := list(choices)):
        raise SettingsError(f"There is no {name} {value!r}.", expected=f"one of {', '.join(known)}", got=value)


# Pictures


def to_image(frames: np.ndarray[Any, Any]) -> Any:
    """uint8 [T, H, W, 3] as the host's IMAGE: float32 [T, H, W, 3] from 0 to 1 on the CPU."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(frames)).to(torch.float32).div_(255.0)


def to_frames(image: Any, what: str) -> np.ndarray[Any, Any]:
    """The host's IMAGE as uint8 [T, H, W, 3], rounded to the nearest level; exact for what ``to_image`` made.

    ``what`` names the socket in an error. Raises ``VideoError`` for a picture that is not RGB or not finite.
    """
    import torch

    if image.ndim != 4 or image.shape[-1] != 3:
        raise VideoError(
            f"The pictures in {what!r} are not RGB.",
            expected="an IMAGE of shape [frames, height, width, 3]",
            got=f"shape {list(image.shape)}",
            remedy="Drop the alpha channel or convert a grey picture to RGB before this node.",
        )
    if not bool(torch.isfinite(image).all()):
        raise VideoError(
            f"The pictures in {what!r} hold values that are not numbers.",
            expected="levels from 0 to 1",
            got="NaN or infinity",
            remedy="The node before this one went wrong (often a VAE in float16); run it in another precision.",
        )
    return image.mul(255.0).round_().clamp_(0, 255).to(device="cpu", dtype=torch.uint8).numpy()


def to_clip(image: Any, fps: float | Fraction, what: str) -> Clip:
    """The host's IMAGE as a ``Clip`` of ``fps`` frames a second."""
    return Clip(to_frames(image, what), Fraction(fps).limit_denominator(1001))


def some_pictures(image: Any, what: str, most: int) -> list[np.ndarray[Any, Any]]:
    """An IMAGE of at most so many pictures, as a list of uint8 [H, W, 3]."""
    if len(image) > most:
        raise VideoError(
            f"{what!r} holds too many pictures.",
            expected=f"1 to {most} pictures",
            got=f"{len(image)}",
            remedy="A whole clip belongs into the control video; choose the pictures, for example with ImageFromBatch.",
        )
    return list(to_frames(image, what))


def one_picture(image: Any, what: str) -> np.ndarray[Any, Any]:
    """An IMAGE that must hold exactly one picture, as uint8 [H, W, 3]."""
    if len(image) != 1:
        raise VideoError(
            f"{what!r} must be one picture.",
            expected="an IMAGE with one picture",
            got=f"{len(image)} pictures",
            remedy="Choose one of them, for example with ImageFromBatch.",
        )
    frames: np.ndarray[Any, Any] = to_frames(image, what)[0]
    return frames


def at_rate(clip: Clip, fps: float | Fraction) -> Clip:
    """The same frames at another rate."""
    return dataclasses.replace(clip, fps=Fraction(fps).limit_denominator(1001))


def to_video(image: Any, fps: Fraction, audio: Any = None) -> Any:
    """An IMAGE as the host's VIDEO, with an AUDIO or without sound."""
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=image, frame_rate=fps, audio=audio))


# Files


def input_files(suffixes: tuple[str, ...]) -> list[str]:
    """The files of these kinds in the host's input folder and below it, as paths relative to it."""
    files, _ = folder_paths.recursive_search(folder_paths.get_input_directory(), excluded_dir_names=[".git"])
    return sorted(file.replace(os.sep, "/") for file in files if file.lower().endswith(suffixes))


def input_folders(suffixes: tuple[str, ...]) -> list[str]:
    """The host's input folder, as ".", and the folders below it that hold files of these kinds, for a combo."""
    parents = {Path(file).parent.as_posix() for file in input_files(suffixes)}
    return [".", *sorted(parents - {"."})]


def input_folder(name: str) -> Path:
    """The folder that a combo of ``input_folders`` names. Raises ``SettingsError`` when it is none or leaves input."""
    root = Path(os.path.abspath(folder_paths.get_input_directory()))  # noqa: PTH100 (must not follow links)
    path = Path(os.path.abspath(root / name.strip()))  # noqa: PTH100
    if (path != root and root not in path.parents) or not path.is_dir():
        raise SettingsError(
            f"There is no folder {name!r}.",
            expected=f"a folder inside {root}",
            got=str(path),
            remedy="Put the clips, or a link to their folder, into ComfyUI's input folder.",
        )
    return path


def input_file(name: str, what: str = "video") -> Path:
    """The file (``what`` it is, for errors) that a combo over the input folder names, also as ``name [output]``.

    The check is on the written path: a link that somebody put into the input folder may lead outside, as in the host.
    Raises ``VideoError`` when there is no such file, ``SettingsError`` when the name leaves the folder.
    """
    bare, base = folder_paths.annotated_filepath(name)
    # The host leaves the blank before "[output]" on the name.
    folder = Path(os.path.abspath(base or folder_paths.get_input_directory()))  # noqa: PTH100 (must not follow links)
    path = Path(os.path.abspath(folder / bare.strip()))  # noqa: PTH100
    if folder not in path.parents:
        raise SettingsError(
            f"The file {name!r} leaves its folder.",
            expected=f"a {what} inside {folder}",
            got=str(path),
            remedy=f"Put the {what} into ComfyUI's input folder and choose it there.",
        )
    if not path.is_file():
        raise VideoError(
            f"There is no file {name!r}.",
            expected=f"a {what} inside {folder}",
            remedy=f"Put the {what} into ComfyUI's input folder, press R in the browser and choose it.",
        )
    return path


def file_stamp(path: Path) -> str:
    """Changes when the file does. For ``fingerprint_inputs``: cheap even for large files."""
    facts = path.stat()
    return f"{facts.st_size}-{facts.st_mtime_ns}"


def model_names(folder: str) -> list[str]:
    """The files of one of the host's model folders, for a combo."""
    return folder_paths.get_filename_list(folder)


def model_file(folder: str, name: str) -> Path:
    """The full path of a chosen model file. Raises ``ModelFileError`` when it is not (any more) in the folder."""
    path = folder_paths.get_full_path(folder, name)
    if path is None:
        raise ModelFileError(
            f"There is no model file {name!r}.",
            expected=f"a file in {' or '.join(folder_paths.get_folder_paths(folder))}",
            remedy="Put the file there, press R in the browser and choose it.",
        )
    return Path(path)


def model_name(folder: str, path: str) -> str:
    """What a combo over one of the host's model folders calls a file; "" for a file that is in none of them."""
    for root in map(Path, folder_paths.get_folder_paths(folder)):
        if Path(path).is_relative_to(root):
            return str(Path(path).relative_to(root))
    return ""


def tokenizer_folders() -> list[str]:
    """The folders below models/text_encoders that hold a tokenizer, for a combo."""
    found = set()
    for root in map(Path, folder_paths.get_folder_paths("text_encoders")):
        for file in ("tokenizer.json", "spiece.model"):
            # Two levels (google/umt5-xxl) are what people have; a deeper search would read whole model collections.
            found |= {
                path.parent.relative_to(root).as_posix()
                for depth in ("*", "*/*")
                for path in root.glob(f"{depth}/{file}")
            }
    return sorted(found)


def tokenizer_folder(name: str) -> Path:
    """The full path of a name out of ``tokenizer_folders``."""
    if name in tokenizer_folders():
        for root in map(Path, folder_paths.get_folder_paths("text_encoders")):
            if (root / name).is_dir():
                return root / name
    raise ModelFileError(
        f"There is no tokenizer folder {name!r}.",
        expected=f"a folder with tokenizer.json in {' or '.join(folder_paths.get_folder_paths('text_encoders'))}",
        remedy="Put the folder google/umt5-xxl of the Wan2.1 repository there, press R in the browser and choose it.",
    )


def add_model_folders() -> None:
    """Let the core look for its nets in the host's models/skeleton2video, and where other packs keep the same files."""
    from ..s2v_core import models

    models.add_model_folder(Path(folder_paths.models_dir) / OUTPUT_NAME)
    for root in map(Path, folder_paths.get_folder_paths("custom_nodes")):
        # The pack's folder is called comfyui_controlnet_aux, or as an archive of it was unpacked.
        for folder in sorted(root.glob("*controlnet_aux*/ckpts")):
            models.add_model_folder(folder)


def output_folder(name: str) -> Path:
    """The pack's own folder ``name`` below the host's output folder. Raises ``SettingsError`` when it leaves it."""
    root = output_root()
    folder = safe_join(root, name.strip())
    if folder == root.resolve():
        raise SettingsError(
            f"{name!r} is not a name for a folder.", expected="a name such as guidance_sweep", remedy="Give a name."
        )
    return folder


def output_root() -> Path:
    """Where the folders of ``output_folder`` lie."""
    return Path(folder_paths.get_output_directory()) / OUTPUT_NAME


def scratch_folder() -> Path:
    """A folder for files that can be made again; the host empties it when it starts."""
    return Path(folder_paths.get_temp_directory()) / OUTPUT_NAME


def file_stem(name: str) -> str:
    """A person's name for a file. Raises ``SettingsError`` when it is a path or nothing."""
    stem = name.strip()
    if not stem or stem != Path(stem).name or stem.startswith("."):
        raise SettingsError(
            f"{name!r} is not a name for a file.", expected="a name such as my_dance, without folders", got=name
        )
    return stem


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """The first of ``stem_00001_.suffix``, ``stem_00002_.suffix``... that is free, as the host numbers its files."""
    return next(path for number in range(1, 100_000) if not (path := folder / f"{stem}_{number:05}_{suffix}").exists())


GRAPH = (io.Hidden.prompt, io.Hidden.extra_pnginfo)
"""What a node that saves files must ask the host for, so that ``graph`` can say it."""


def graph(node: Any) -> dict[str, Any]:
    """The graph that runs, by the keys under which the host's browser looks for it in a file; {} where the user told
    the host to keep it out of files.
    """
    if args.disable_metadata or node.hidden is None:
        return {}
    found = dict(node.hidden.extra_pnginfo or {})
    if node.hidden.prompt is not None:
        found["prompt"] = node.hidden.prompt
    return found


def video_of(file: Path) -> Any:
    """A saved file as the host's VIDEO: its frames are read when somebody wants them."""
    return InputImpl.VideoFromFile(str(file))


def saved(path: Path) -> Any:
    """A file below the output folder, as the host's user interface wants it named."""
    where = path.resolve().relative_to(Path(folder_paths.get_output_directory()).resolve())
    return ui.SavedResult(where.name, where.parent.as_posix(), io.FolderType.output)
