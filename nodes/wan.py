"""Wan-VACE: load it, render one video."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..s2v_core.errors import S2VError, SettingsError
from ..s2v_core.prompts.prompt import Prompt
from ..s2v_core.wan.pictures import FPS
from ..s2v_core.wan.presets import PRESETS, find_preset
from ..s2v_core.wan.schedule import needs_negative
from ..s2v_core.wan.settings import ADVANCED, LATE, LoraUse, SampleSettings, options
from . import host, native, sockets

BESIDE = "beside the text encoder"
NO_PRESET = "none"
MOST_REFERENCES = 8  # each costs as much as four frames; more is a clip in the wrong socket
DTYPES = ("auto", "bfloat16", "float16", "float32")
DEVICES = ("auto", "cuda", "mps", "cpu")


def settings_inputs(*, randomize_seed: bool) -> list[Any]:
    """One form field for each setting of a rendering but the late ones, in the order of ``SampleSettings``.

    Saved workflows hold these values by their place: new settings are ``late_inputs``. ``randomize_seed``: offer
    another seed for each run; it must be said either way, since the browser offers it for everything that is called
    seed.
    """
    fields = []
    for entry in options(SampleSettings):
        if entry.name in LATE:
            continue
        more: dict[str, Any] = {"control_after_generate": randomize_seed} if entry.name == "seed" else {}
        # What came later may be missing in a saved graph: it then has its default.
        fields.append(host.widget(entry, **more, **({"optional": True} if entry.name in ADVANCED else {})))
    return fields


def late_inputs() -> list[Any]:
    """The fields of those settings that came last, for the end of a form."""
    return [host.widget(entry, optional=True) for entry in options(SampleSettings) if entry.name in LATE]


def picture_inputs() -> list[Any]:
    """The sockets that a rendering and a sweep share."""
    return [
        io.Image.Input(
            "control_video",
            display_name="control video",
            optional=True,
            tooltip="The drawn skeleton, at least as long as the video. Without it only text and reference steer.",
        ),
        io.Image.Input(
            "reference",
            optional=True,
            tooltip="A picture of the person who shall dance, from Load Image; a batch gives several references.",
        ),
        sockets.Loras.Input("loras", display_name="LoRAs", optional=True, tooltip="From Wan-VACE LoRA."),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip=(
                "What is drawn anew: white. Where it is black, the control video is kept as it is: for inpainting, and "
                "for given first and last frames. One mask for all frames, or one a frame."
            ),
        ),
        io.Image.Input(
            "start_clip",
            display_name="start clip",
            optional=True,
            tooltip="A clip to begin from instead of noise, with denoise below 1.",
        ),
    ]


def native_inputs() -> list[Any]:
    """The host's own sockets for what steers a rendering, and for what goes with its video."""
    return [
        io.Conditioning.Input(
            "positive",
            optional=True,
            tooltip="From CLIP Text Encode with a CLIP of type wan, in place of the prompt's text.",
        ),
        io.Conditioning.Input(
            "negative",
            optional=True,
            tooltip="The same, in place of the prompt's negative text; not used at guidance 1.",
        ),
        io.Noise.Input(
            "noise",
            optional=True,
            tooltip="From RandomNoise, in place of the seed: the noise that KSampler draws, also with a reference.",
        ),
        io.Audio.Input("audio", optional=True, tooltip="The sound of the video, for example from Load AIST Clip."),
        io.Float.Input(
            "fps",
            default=float(FPS),
            min=1.0,
            max=240.0,
            step=0.01,
            optional=True,
            tooltip="Frames a second of the control video, and of the result. Wan2.1 was trained on 16.",
        ),
    ]


def preset_input() -> Any:
    """A named set of values that takes the place of some of the form's."""
    said = "; ".join(f"{preset.name}: {preset.help}" for preset in PRESETS.values())
    return io.Combo.Input(
        "preset",
        options=[NO_PRESET, *PRESETS],
        default=NO_PRESET,
        optional=True,
        tooltip=f"Put the values of a preset in place of those of this form; the notes say which. {said}",
    )


def with_preset(prompt: Any, settings: SampleSettings, name: str) -> tuple[Any, SampleSettings, tuple[str, ...]]:
    """Prompt and settings with the preset's values, and what was replaced in words."""
    if name == NO_PRESET:
        return prompt, settings, ()
    preset = find_preset(name)
    said = [f"{key} {value}" for key, value in preset.values.items() if getattr(settings, key) != value]
    if preset.negative is not None:
        prompt = dataclasses.replace(prompt, negative=preset.negative)
        said.append("its negative prompt")
    return prompt, preset.on(settings), (f"The preset {name} set: {', '.join(said) or 'nothing else'}.",)


def check_size(**size: int | None) -> bool | str:
    """For ``validate_inputs``: True, or what is wrong with this size, before any model is loaded.

    The host knows no multiples of 16. It repeats the answer for each input that ``validate_inputs`` names, so only
    those that it cannot check itself are named. What comes by a link is None here.
    """
    try:
        SampleSettings.from_dict({name: value for name, value in size.items() if value is not None})
    except S2VError as error:
        return str(error)
    return True


def make_renderer(
    model: Any,
    control_video: Any,
    reference: Any,
    mask: Any = None,
    start_clip: Any = None,
    fps: float | Fraction = FPS,
) -> Any:
    """The engine with these pictures; a batch of references is several, at most MOST_REFERENCES."""
    from ..s2v_core.wan.render import Renderer

    control = None if control_video is None else host.to_clip(control_video, fps, "control video")
    pictures = None if reference is None else host.some_pictures(reference, "reference", MOST_REFERENCES)
    return Renderer(
        model,
        control,
        pictures,
        mask=None if mask is None else mask.to("cpu").float().numpy(),
        start=None if start_clip is None else host.to_clip(start_clip, fps, "start clip"),
    )


class LoadWanVace(io.ComfyNode):
    """Loads the four parts of Wan2.1-VACE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_LoadWanVace",
            display_name="Load Wan-VACE",
            category="Skeleton2Video/wan",
            description=(
                "Loads Wan2.1-VACE (1.3B or 14B) from ComfyUI's model folders. The size is read from the file. "
                "Nothing is downloaded."
            ),
            inputs=[
                io.Combo.Input(
                    "diffusion_model",
                    options=host.model_names("diffusion_models"),
                    tooltip="The transformer with its VACE blocks, from models/diffusion_models; of shards any one.",
                ),
                io.Combo.Input("vae", options=host.model_names("vae"), tooltip="The Wan2.1 VAE, from models/vae."),
                io.Combo.Input(
                    "text_encoder",
                    options=host.model_names("text_encoders"),
                    tooltip="The umT5-XXL text encoder, from models/text_encoders, in any layout; also as scaled fp8.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(DTYPES),
                    default="auto",
                    tooltip="Number type of the weights. auto: bfloat16, or float32 for small models on the CPU.",
                ),
                io.Combo.Input(
                    "device", options=list(DEVICES), default="auto", tooltip="auto: the device that ComfyUI uses."
                ),
                io.Combo.Input(
                    "tokenizer",
                    options=[BESIDE, *host.tokenizer_folders()],
                    default=BESIDE,
                    tooltip=(
                        "The folder with the text encoder's tokenizer.json, in models/text_encoders. "
                        "Beside the text encoder means inside its file, as ComfyUI's have it, or its own folder, or "
                        "google/umt5-xxl in it."
                    ),
                ),
            ],
            outputs=[sockets.Model.Output("model", display_name="model", tooltip="For the sampler and for sweeps.")],
        )

    @classmethod
    def fingerprint_inputs(cls, diffusion_model: str, vae: str, text_encoder: str, **_: Any) -> str:
        """Changes when one of the files does."""
        try:
            from ..s2v_core.wan.weights_file import weight_files

            chosen = _files(diffusion_model, vae, text_encoder)
            parts = [part for path in chosen for shards in weight_files(path) for part in shards]
            return " ".join(host.file_stamp(Path(part)) for part in parts)
        except (S2VError, OSError):
            return "missing"

    @classmethod
    def execute(
        cls, diffusion_model: str, vae: str, text_encoder: str, dtype: str, device: str, tokenizer: str
    ) -> io.NodeOutput:
        """Load."""
        from ..s2v_core.wan.engine import ModelFiles

        transformer, autoencoder, encoder = map(str, _files(diffusion_model, vae, text_encoder))
        folder = "" if tokenizer == BESIDE else str(host.tokenizer_folder(tokenizer))
        files = ModelFiles(transformer, autoencoder, encoder, folder)
        return io.NodeOutput(host.load_engine(files, device=device, dtype=dtype))


class LoadNanoWanVace(io.ComfyNode):
    """Loads the small Wan-VACE that comes with the pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Outputs only."""
        return io.Schema(
            node_id="Skeleton2Video_LoadNanoWanVace",
            display_name="Load Nano Wan-VACE",
            category="Skeleton2Video/wan",
            description=(
                "The small Wan-VACE that comes with the pack, trained on drawn dancers: to try a graph in seconds on "
                "any machine. It is made for 96 x 96 pixels and 17 frames."
            ),
            inputs=[],
            outputs=[
                sockets.Model.Output("model", display_name="model", tooltip="For the sampler and for sweeps."),
                sockets.Loras.Output(
                    "loras",
                    display_name="biased LoRA",
                    tooltip="A LoRA of it that learned a white stage and black trousers along with its dances.",
                ),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """Load."""
        from ..s2v_core.wan.embedded import nano_files, nano_lora

        return io.NodeOutput(host.load_engine(nano_files()), (LoraUse(str(nano_lora("article"))),))


class WanVaceSampler(io.ComfyNode):
    """Renders one video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_WanVaceSampler",
            display_name="Wan-VACE Sampler",
            category="Skeleton2Video/wan",
            description=(
                "Renders one video: the person of the reference image, moving as the control video says, as the prompt "
                "describes it. The stop button works between steps."
            ),
            inputs=[
                sockets.Model.Input("model", tooltip="From Load Wan-VACE."),
                sockets.Prompt.Input(
                    "prompt",
                    optional=True,
                    tooltip="From Build Dance Prompt. Not needed where positive (and negative) are connected.",
                ),
                *settings_inputs(randomize_seed=True),
                *picture_inputs(),
                preset_input(),
                *native_inputs(),
                *late_inputs(),
            ],
            outputs=[
                io.Image.Output("images", display_name="frames", tooltip="The frames of the video."),
                io.Video.Output("video", display_name="video", tooltip="The same as a video, for Save Video."),
                io.String.Output("notes", display_name="notes", tooltip="What was fitted, cut or left out."),
                io.Latent.Output(
                    "latent",
                    display_name="latent",
                    tooltip="The same before decoding, for VAE Decode and the like; without the reference's part.",
                ),
                io.Float.Output("rate", display_name="fps", tooltip="Frames a second."),
            ],
        )

    @classmethod
    def validate_inputs(cls, width: int | None, height: int | None, frames: int | None) -> bool | str:
        """Say what is wrong with the size before anything runs."""
        return check_size(width=width, height=height, frames=frames)

    @classmethod
    def execute(
        cls,
        model: Any,
        prompt: Any = None,
        control_video: Any = None,
        reference: Any = None,
        loras: tuple[LoraUse, ...] = (),
        mask: Any = None,
        start_clip: Any = None,
        preset: str = NO_PRESET,
        positive: Any = None,
        negative: Any = None,
        noise: Any = None,
        audio: Any = None,
        fps: float = float(FPS),
        **values: Any,
    ) -> io.NodeOutput:
        """Render."""
        from ..s2v_core.wan.decoding import decode

        settings = dataclasses.replace(SampleSettings.from_dict(values), loras=tuple(loras))
        text, settings, said = with_preset(prompt or Prompt("", ""), settings, preset)
        _check_texts(prompt, positive, negative, settings)
        renderer = make_renderer(model, control_video, reference, mask, start_clip, fps)
        progress = host.Progress(settings.steps)
        with host.rendering(model) as should_stop:
            width = model.parts["dit"].text_embedding[0].in_features
            states = [
                None if given is None else native.text_states(given, what, width)
                for given, what in ((positive, "positive"), (negative, "negative"))
            ]
            latents, conditioning = renderer.sample(
                text,
                settings,
                states=tuple(states),
                noise=None if noise is None else native.starting_noise(noise),
                on_step=lambda step: progress(step.index + 1, step.total, step.preview()),
                should_stop=should_stop,
            )
            clip = decode(model, latents, conditioning, settings, should_stop=should_stop)
        clip = host.at_rate(clip, fps)
        images = host.to_image(clip.frames)
        video = host.to_video(images, clip.fps, native.fitting_audio(audio, clip))
        notes = "\n".join((*said, *renderer.notes))
        return io.NodeOutput(images, video, notes, native.to_latent(latents), float(clip.fps))


def _check_texts(prompt: Any, positive: Any, negative: Any, settings: SampleSettings) -> None:
    """Raise ``SettingsError`` where a text is missing."""
    missing = [name for name, given in (("positive", positive), ("negative", negative)) if given is None]
    if not needs_negative(settings) and "negative" in missing:
        missing.remove("negative")
    if prompt is None and missing:
        raise SettingsError(
            "The sampler has no prompt.",
            expected="a prompt from Build Dance Prompt, or positive and negative from CLIP Text Encode",
            got=f"nothing in prompt and in {' and '.join(missing)}",
            remedy="Connect one of them. At guidance 1 no negative is needed.",
        )


def _files(diffusion_model: str, vae: str, text_encoder: str) -> tuple[Path, Path, Path]:
    return (
        host.model_file("diffusion_models", diffusion_model),
        host.model_file("vae", vae),
        host.model_file("text_encoders", text_encoder),
    )
