"""From dance clips in the host's input folder to frames and the facts of their names."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..s2v_core.aist.catalog import scan_folder
from ..s2v_core.aist.choose import LAST_SEED, RANDOM, Selection, choose_view, pick, select
from ..s2v_core.aist.names import CAMERAS
from ..s2v_core.dataset.settings import PrepareSettings
from ..s2v_core.errors import S2VError
from ..s2v_core.options import option
from . import host, native, sockets

AS_CHOSEN = "as chosen"
FILTERS = ("genre", "situation", "dancer", "music", "choreography", "camera")
PIECE = ("size", "frames", "fps", "fit", "trim", "offset", "short")
MOST = 16


def piece_inputs() -> list[Any]:
    """Which frames of a video are taken, and at which size."""
    return [
        io.Int.Input(
            "fps",
            default=16,
            min=1,
            max=120,
            tooltip="Frames a second to take. Wan2.1 makes videos of 16 frames a second.",
        ),
        io.Int.Input(
            "frames",
            default=81,
            min=1,
            max=1001,
            step=4,
            tooltip="Number of frames to take, 4n + 1 for Wan. 81 frames at 16 a second are 5 seconds.",
        ),
        io.Int.Input("width", default=832, min=16, max=4096, step=16, tooltip="Width of the frames in pixels."),
        io.Int.Input("height", default=480, min=16, max=4096, step=16, tooltip="Height of the frames in pixels."),
        io.Combo.Input(
            "fit",
            options=["crop", "letterbox"],
            default="crop",
            tooltip="How a video of another shape is fitted: crop fills and cuts, letterbox adds a border.",
        ),
        io.Float.Input(
            "start",
            default=0.0,
            min=0.0,
            max=36000.0,
            step=0.1,
            tooltip="Second of the video at which to begin.",
        ),
        io.Combo.Input(
            "short",
            options=["error", "hold", "loop"],
            default="error",
            tooltip="When the video ends too early: stop with an error, hold its last frame, or begin again.",
        ),
    ]


class LoadAistClip(io.ComfyNode):
    """Reads a piece of a video at an exact frame rate."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_LoadAistClip",
            display_name="Load AIST Clip",
            category="Skeleton2Video/clip",
            description=(
                "Reads a dance clip from the input folder, frame by exact frame at the chosen rate, and takes the "
                "facts of an AIST Dance DB file name (genre, situation, tempo, camera) for the prompt. Any other video "
                "works too; then there are no facts."
            ),
            inputs=[
                io.Combo.Input(
                    "video",
                    options=host.input_files(host.VIDEO_SUFFIXES),
                    upload=io.UploadType.video,
                    tooltip="A video in ComfyUI's input folder or below it, for example gBR_sBM_c01_d04_mBR0_ch01.mp4.",
                ),
                *piece_inputs(),
                io.Combo.Input(
                    "camera",
                    options=[AS_CHOSEN, RANDOM, *CAMERAS],
                    default=AS_CHOSEN,
                    optional=True,
                    tooltip="Take the same dance from another camera; its file must lie beside the chosen one.",
                ),
                io.Int.Input(
                    "camera_seed",
                    default=0,
                    min=0,
                    max=LAST_SEED,
                    optional=True,
                    tooltip="Decides the random camera: the same seed, the same camera.",
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="frames", tooltip="The frames."),
                io.Video.Output("clip", display_name="video", tooltip="The same frames as a video, with their sound."),
                sockets.ClipName.Output("clip_name", display_name="clip name", tooltip="For Build Dance Prompt."),
                io.Float.Output("rate", display_name="fps", tooltip="Frames a second."),
                io.String.Output("facts", display_name="facts", tooltip="What the file name says, to read."),
                io.String.Output("genre", display_name="genre", tooltip="AIST's code, for example gBR."),
                io.String.Output("situation", display_name="situation", tooltip="AIST's code, for example sBM."),
                io.String.Output("camera_used", display_name="camera used", tooltip="c01 to c10."),
                io.String.Output("dancers", display_name="dancers", tooltip="For example d04."),
                io.String.Output("music", display_name="music", tooltip="For example mBR0."),
                io.String.Output("choreography", display_name="choreography", tooltip="For example ch01."),
                io.Float.Output("tempo", display_name="tempo", tooltip="Beats a minute; 0 when it is unknown."),
                io.Audio.Output(
                    "audio", display_name="audio", tooltip="The sound of these frames; none in a mute file."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, video: str) -> bool | str:
        """The host's own check would refuse its ``name [output]`` form, so this one takes its place."""
        try:
            host.input_file(video)
        except S2VError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, video: str, camera: str = AS_CHOSEN, camera_seed: int = 0, **_: Any) -> str:
        """Changes with the file, so that another video of the same name is read anew."""
        try:
            return host.file_stamp(_view(video, camera, camera_seed))
        except (S2VError, OSError):
            return "missing"

    @classmethod
    def execute(
        cls,
        video: str,
        fps: int,
        frames: int,
        width: int,
        height: int,
        fit: str,
        start: float,
        short: str,
        camera: str = AS_CHOSEN,
        camera_seed: int = 0,
    ) -> io.NodeOutput:
        """Read the frames and the name."""
        from ..s2v_core.video.read import read_clip

        host.check_choice("camera", camera, [AS_CHOSEN, RANDOM, *CAMERAS])
        path = _view(video, camera, camera_seed)
        progress = host.Progress(frames)
        with host.interruptible() as should_stop:
            clip = read_clip(
                path,
                fps=fps,
                frames=frames,
                size=(width, height),
                fit=fit,
                start=start,
                short=short,
                on_progress=lambda done, total: progress(done, total),
                should_stop=should_stop,
            )
            audio, silent = native.file_sound(path, clip, start, should_stop)
        name, facts = name_and_facts(path.name)
        images = host.to_image(clip.frames)
        video = host.to_video(images, clip.fps, audio)
        facts = "\n".join(filter(None, [facts, silent]))
        return io.NodeOutput(images, video, name, float(clip.fps), facts, *_codes(name), audio)


class AistDataset(io.ComfyNode):
    """Chooses clips of a folder by their facts, and reads the same piece of each."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_AistDataset",
            display_name="AIST Dataset",
            category="Skeleton2Video/clip",
            description=(
                "Chooses clips out of a folder of dance clips: by genre, situation, dancer, music, choreography and "
                "camera; one by its place or drawn by the seed, or several as a batch, for which everything that is "
                "connected runs once each."
            ),
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=host.input_folders(host.VIDEO_SUFFIXES),
                    default=".",
                    tooltip="ComfyUI's input folder (.) or one below it; folders inside it count, too.",
                ),
                *(host.widget(option(Selection, name)) for name in FILTERS),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LAST_SEED,
                    control_after_generate=True,
                    tooltip="Decides random cameras and drawn clips: the same seed, the same choice.",
                ),
                io.Int.Input(
                    "index",
                    default=-1,
                    min=-1,
                    max=1_000_000,
                    tooltip="Place of the clip among the chosen ones, from 0; -1 draws by the seed.",
                ),
                io.Int.Input(
                    "count", default=1, min=1, max=MOST, tooltip="How many clips, from that place on or drawn."
                ),
                *(host.widget(option(PrepareSettings, name)) for name in PIECE),
                io.Boolean.Input(
                    "any_name", default=False, tooltip="Also take clips without an AIST name; they have no facts."
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="frames", is_output_list=True, tooltip="Each clip's frames."),
                sockets.ClipName.Output(
                    "clip_names", display_name="clip names", is_output_list=True, tooltip="For Build Dance Prompt."
                ),
                io.String.Output("files", display_name="files", is_output_list=True, tooltip="The files' names."),
                io.String.Output(
                    "facts", display_name="facts", is_output_list=True, tooltip="What each name says, to read."
                ),
                io.Float.Output("rate", display_name="rate", tooltip="Frames a second."),
                io.Int.Output("total", display_name="total", tooltip="How many clips the filters leave."),
                io.String.Output("report", display_name="report", tooltip="What was left out and refused, and why."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **given: Any) -> str:
        """Changes with the chosen files."""
        try:
            _, _, files = _chosen(given)
            return " ".join(f"{path} {host.file_stamp(path)}" for _, path in files)
        except (S2VError, OSError):
            return "missing"

    @classmethod
    def execute(cls, **given: Any) -> io.NodeOutput:
        """Choose the clips and read them."""
        from ..s2v_core.dataset.clip import read_dance

        settings = PrepareSettings(**{name: given[name] for name in PIECE})
        total, report, files = _chosen(given)
        progress = host.Progress(len(files) * settings.frames)
        images: list[Any] = []
        with host.interruptible() as should_stop:
            for entry, path in files:
                before = len(images) * settings.frames
                clip, _, _ = read_dance(
                    path,
                    settings,
                    entry.tempo,
                    on_progress=lambda done, _, before=before: progress(before + done),  # type: ignore[misc]
                    should_stop=should_stop,
                )
                images.append(host.to_image(clip.frames))
        names = [entry.name for entry, _ in files]
        facts = [name_and_facts(str(entry.name or path.name))[1] for entry, path in files]
        taken = [entry.file for entry, _ in files]
        return io.NodeOutput(images, names, taken, facts, float(settings.rate), total, report)


def _chosen(given: dict[str, Any]) -> tuple[int, str, list[tuple[Any, Any]]]:
    """How many clips the filters leave, a report, and the picked (entry, path)."""
    catalog = scan_folder(host.input_folder(given["folder"]), any_name=given["any_name"])
    selection = Selection(**{name: given[name] for name in FILTERS}, seed=given["seed"])
    chosen = select(catalog, selection)
    picked = pick(chosen.catalog.entries, given["index"], given["count"], given["seed"])
    lines = [f"{len(chosen.catalog)} of {len(catalog)} clips"]
    lines += [f"{count} left out by {what}" for what, count in chosen.left_out.items()]
    lines += [f"not taken: {refused.file}: {refused.reason}" for refused in catalog.refused]
    return len(chosen.catalog), "\n".join(lines), [(entry, catalog.path(entry)) for entry in picked]


def _view(video: str, camera: str, seed: int) -> Any:
    path = host.input_file(video)
    return path if camera == AS_CHOSEN else choose_view(path, camera, seed)


def name_and_facts(file_name: str) -> tuple[Any, str]:
    """The parsed name and a text about it; ``(None, text)`` for a name that is not AIST's."""
    from ..s2v_core.aist.names import ClipName

    try:
        name = ClipName.parse(file_name)
    except S2VError as error:
        return None, f"{file_name}: not an AIST Dance DB name, so genre, tempo and camera are unknown.\n{error}"
    facts = (
        ("genre", name.genre_name),
        ("situation", name.situation_name),
        ("tempo", f"{name.tempo_bpm} BPM" if name.tempo_bpm else ""),
        ("camera", name.camera_name),
    )
    return name, "\n".join([file_name, *(f"{label}: {fact}" for label, fact in facts if fact)])


def _codes(name: Any) -> list[Any]:
    """The outputs from ``genre`` to ``tempo``; empty and 0 for a clip without an AIST name."""
    if name is None:
        return [*[""] * 6, 0.0]
    cast = "+".join(name.dancers)
    codes = [name.genre, name.situation, name.camera, cast, name.music, name.choreography]
    return [*codes, float(name.tempo_bpm or 0)]
