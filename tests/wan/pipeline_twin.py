"""DiffSynth's own pipeline on the files of a tiny model, loaded its own way: what our loop must equal."""

import contextlib
import io

import torch
from diffsynth.configs import MODEL_CONFIGS
from diffsynth.core.loader.file import hash_model_file
from diffsynth.models.wan_video_vae import VideoVAE_, WanVideoVAE
from diffsynth.pipelines.wan_video import ModelConfig, WanVideoPipeline
from PIL import Image

from s2v_core.wan.checkpoints import inspect_file, text_encoder_sizes, transformer_sizes

_CONVERTERS = "diffsynth.utils.state_dict_converters."


class NarrowVAE(WanVideoVAE):
    """The class hard-codes the width of the real VAE; everything else stays."""

    def __init__(self, dim=4):
        super().__init__(z_dim=16)
        self.model = VideoVAE_(dim=dim, z_dim=16, num_res_blocks=1).eval().requires_grad_(False)


def load_pipeline(files, dtype=torch.float32):
    sizes = transformer_sizes(inspect_file(files.transformer))
    shared = hash_model_file(files.transformer)
    rows = [
        {
            "model_hash": shared,
            "model_name": "wan_video_dit",
            "model_class": "diffsynth.models.wan_video_dit.WanModel",
            "extra_kwargs": sizes["dit"],
            "state_dict_converter": f"{_CONVERTERS}wan_video_dit.WanVideoDiTStateDictConverter",
        },
        {
            "model_hash": shared,
            "model_name": "wan_video_vace",
            "model_class": "diffsynth.models.wan_video_vace.VaceWanModel",
            "extra_kwargs": sizes["vace"],
            "state_dict_converter": f"{_CONVERTERS}wan_video_vace.VaceWanModelDictConverter",
        },
        {
            "model_hash": hash_model_file(files.text_encoder),
            "model_name": "wan_video_text_encoder",
            "model_class": "diffsynth.models.wan_video_text_encoder.WanTextEncoder",
            "extra_kwargs": text_encoder_sizes(inspect_file(files.text_encoder)),
        },
        {
            "model_hash": hash_model_file(files.vae),
            "model_name": "wan_video_vae",
            "model_class": f"{__name__}.NarrowVAE",
            "extra_kwargs": {"dim": inspect_file(files.vae).shapes["encoder.conv1.weight"][0]},
            "state_dict_converter": f"{_CONVERTERS}wan_video_vae.WanVideoVAEStateDictConverter",
        },
    ]
    known = {(row["model_hash"], row["model_name"]) for row in MODEL_CONFIGS}
    MODEL_CONFIGS.extend(row for row in rows if (row["model_hash"], row["model_name"]) not in known)
    with contextlib.redirect_stdout(io.StringIO()):
        return WanVideoPipeline.from_pretrained(
            torch_dtype=dtype,
            device="cpu",
            model_configs=[ModelConfig(path=path) for path in (files.transformer, files.text_encoder, files.vae)],
            tokenizer_config=ModelConfig(path=files.tokenizer),
        )


def run_pipeline(pipe, prompt, settings, control=None, reference=None, mask=None, start=None, scale=None):
    """The pipeline's latents in front of the decoder, and its frames as uint8 [T, H, W, 3].

    ``reference``: a picture or a list of them. ``mask``: uint8 [T, H, W]. ``start``: a clip. ``scale``: in place of the
    control strength.
    """
    import numpy as np

    caught = []
    decode = pipe.vae.decode

    def spy(latents, **kwargs):
        caught.append(latents.clone())
        return decode(latents, **kwargs)

    pipe.vae.decode = spy
    try:
        frames = pipe(
            prompt.text,
            prompt.negative,
            vace_video=None if control is None else [Image.fromarray(frame) for frame in control.frames],
            vace_video_mask=None if mask is None else [Image.fromarray(frame).convert("RGB") for frame in mask],
            vace_reference_image=_pictures(reference),
            vace_scale=settings.control_strength if scale is None else scale,
            input_video=None if start is None else [Image.fromarray(frame) for frame in start.frames],
            denoising_strength=settings.denoise,
            seed=settings.seed,
            height=settings.height,
            width=settings.width,
            num_frames=settings.frames,
            cfg_scale=settings.guidance,
            num_inference_steps=settings.steps,
            sigma_shift=settings.shift,
            tiled=settings.tiling,
            progress_bar_cmd=lambda steps: steps,
        )
    finally:
        del pipe.vae.decode
    return caught[0], np.stack([np.asarray(frame) for frame in frames])


def _pictures(reference):
    if isinstance(reference, list):
        return [Image.fromarray(picture) for picture in reference]
    return None if reference is None else Image.fromarray(reference)
