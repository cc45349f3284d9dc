"""``Engine``: the loaded nets, where they are, and what identifies them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import remembered_sha256
from .attention import pick_attention
from .block import PLAIN, Form
from .checkpoints import check_text_encoder, check_together
from .contents import weights_sha256
from .lora_file import Lora, load_lora, lora_stamp
from .machine import DTYPES as DTYPES
from .machine import keep_off_the_network as keep_off_the_network
from .machine import pick_device as pick_device
from .machine import pick_dtype as pick_dtype
from .memory_plan import AUTO, FP8, MemoryPlan, check_memory, net_needs, stays
from .parts import read_parts, stamps_of
from .preview import fit_colours
from .residence import NETS as NETS
from .residence import Residence
from .text import find_tokenizer, load_tokenizer, tokenizer_files
from .text_states import check_policy, encode_states, finish_texts

if TYPE_CHECKING:
    import torch

    from .kept import Kept
    from .settings import SampleSettings

log = logging.getLogger(__name__)

# Counts up when the same settings give other bits, so that cells stored before are not taken for the same.
_ARITHMETIC = 2

_LORA_MEMORY = 4 << 30
_TEXTS = 64  # 256 MB of the real encoder's


@dataclass(frozen=True)
class ModelFiles:
    """Paths of the model's files, in any layout of ``layouts``.

    Each of the first three is a file, one shard or the index of several, or the folder that holds them; the folder of
    a whole model may stand for all three. ``tokenizer``: a folder or a ``spiece.model``; empty means the one inside the
    text encoder's file, or beside it.
    """

    transformer: str
    vae: str
    text_encoder: str
    tokenizer: str = ""

    def weights(self) -> dict[str, str]:
        """The path of each net of ``layouts.NETS``."""
        return {"transformer": self.transformer, "vae": self.vae, "text_encoder": self.text_encoder}


@dataclass(eq=False)
class Engine:
    """A loaded Wan-VACE.

    ``parts``: "dit", "vace", "text_encoder" and "vae", DiffSynth's own classes. With ``offload`` they are at home in
    main memory, and come to ``device`` as ``memory`` says, one of ``memory_plan.CHOICES`` (``residence``). ``grey``:
    latents of grey videos (``vace``), on the CPU.
    ``constants``: what the last rendering's steps shared, and what it was computed from (``sampler``). ``form``: how
    blocks compute: attention, and whether compiled.

    ``mover(engine, names)`` brings parts to the device in the engine's place, where a host shares it out; no names mean
    that none is in use. ``expected``: what the parts are going to render, so that it knows how much room that takes.
    ``reader(engine, names)`` reads parts in the place of ``read_again``, where a host shows and stops it.

    The text encoder is read when a text comes whose states are neither remembered nor in ``kept``, the files of earlier
    runs (None: there are none). ``text_encoder`` says how long it stays, see ``text_states.may_stay``. ``stamps``: the
    ``weights_stamp`` of each net's files when they were read.
    """

    files: ModelFiles
    parts: dict[str, Any] = field(repr=False)
    tokenizer: Any = field(repr=False)
    device: str
    dtype: torch.dtype
    offload: bool = False
    grey: dict[tuple[Any, ...], torch.Tensor] = field(default_factory=dict, repr=False)
    constants: tuple[tuple[Any, ...], Any] | None = field(default=None, repr=False)
    mover: Callable[[Engine, tuple[str, ...]], None] | None = field(default=None, repr=False)
    expected: SampleSettings | None = field(default=None, repr=False)
    form: Form = field(default=PLAIN, repr=False)
    kept: Kept | None = field(default=None, repr=False)
    text_encoder: str = "auto"
    reader: Callable[[Engine, tuple[str, ...]], None] | None = field(default=None, repr=False)
    stamps: dict[str, Any] = field(default_factory=dict, repr=False)
    memory: str = AUTO
    residence: Residence = field(init=False, repr=False)
    _planned: tuple[Any, ...] | None = field(default=None, repr=False)
    _loras: dict[str, tuple[tuple[int, ...], Lora]] = field(default_factory=dict, repr=False)
    _texts: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)
    _colours: torch.Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.residence = Residence(self.memory, self.device)

    def use(self, *names: str) -> tuple[Any, ...]:
        """The named parts, on the device; the others leave it where the memory plan says so.

        Parts that are not loaded are read: raises what ``load_engine`` raises for their files, and
        ``DeviceMemoryError`` where the device has no room for these parts under any plan.
        """
        missing = tuple(name for name in names if name not in self.parts)
        if missing and self.reader:
            self.reader(self, missing)
        elif missing:
            self.read_again(*missing)
        if self.mover:
            self.mover(self, names)
        elif self.offload:
            self.memory_plan()
            self.residence.bring(self.parts, names)
        return tuple(self.parts[name] for name in names)

    def memory_plan(self) -> MemoryPlan:
        """The plan for what is ``expected``; with the default settings where nothing is."""
        given = self.expected
        key = given and (given.width, given.height, given.frames, given.window_frames, given.tiling)
        if self.residence.plan is None or self._planned != (key,):
            self.residence.expect(net_needs(self.files, given, self.dtype, eight_bit=self.memory == FP8))
            self._planned = (key,)
        assert self.residence.plan is not None
        return self.residence.plan

    def within_memory(self, names: tuple[str, ...], work: Callable[[], Any]) -> Any:
        """What ``work()`` gives, which computes with these parts. Where the device's memory runs out, the next memory
        plan is taken up, which is said, and ``work`` is called again: it must not have changed anything by then.

        Raises ``DeviceMemoryError`` behind the last plan. Where a host shares out the device, its own rules hold, and
        torch's error is raised.
        """
        while True:
            try:
                return work()
            except Exception as error:
                reason = self.residence.short(error) if self.offload and not self.mover else None
                if reason is None:
                    raise
            self.constants = None
            self.residence.fall(reason, [net for net, parts in NETS.items() if set(parts) & set(names)])
            self.use(*names)

    @property
    def settled(self) -> bool:
        """Whether the transformer stays where it computes, so that what was made for it may stay there too."""
        if self.mover or not self.offload:
            return self.device == "cpu"
        return "transformer" in stays(self.memory_plan().name)

    def release(self, *names: str) -> None:
        """Let go of the weights of these parts (of all without a name) and of what was remembered of texts and LoRAs.

        The next ``use`` reads the weights from their files again, as they are there then.
        """
        self.let_go(*(names or tuple(self.parts)))
        for kept in (self._texts, self._loras, self.grey):
            kept.clear()
        self.constants = None

    def let_go(self, *names: str) -> None:
        """``release`` of weights alone."""
        import torch

        with torch.inference_mode(False), torch.no_grad():
            if nets := [net for net, parts in NETS.items() if set(parts) & set(names)]:
                self.residence.leave(*nets)
            for name in names:
                if (net := self.parts.pop(name, None)) is not None:
                    net.to("meta")

    def read_again(
        self,
        *names: str,
        on_progress: Callable[[int, int, str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Read those of the named parts (all without a name) that are not loaded. As ``load_engine``."""
        wanted = set(names or (part for parts in NETS.values() for part in parts)) - set(self.parts)
        nets = [net for net, parts in NETS.items() if wanted & set(parts)]
        if nets:
            where = (self.device, self.dtype, self.offload)
            self.stamps |= stamps_of(self.files, nets)
            found = read_parts(self.files, nets, where, on_progress, should_stop, self.memory == FP8)
            self.parts.update({name: net for name, net in found.items() if name not in self.parts})

    def text_states(self, text: str, should_stop: Callable[[], bool] | None = None) -> torch.Tensor:
        """``encode_states``, remembered: [1, 512, text dim] on the CPU (4 MB each for the real encoder).

        Of more than 64 texts the ones used longest ago are dropped. ``should_stop``: asked while the encoder is read.
        """
        states = self._texts.pop(text, None)
        if states is None:
            states = encode_states(self, text, should_stop)
        self._texts[text] = states  # at the end: the order is that of the last use
        while len(self._texts) > _TEXTS:
            self._texts.pop(next(iter(self._texts)))
        return states

    def finish_texts(self, awaited: list[str] | None = None, should_stop: Callable[[], bool] | None = None) -> None:
        """See ``text_states.finish_texts``."""
        finish_texts(self, [] if awaited is None else awaited, _TEXTS - 2, should_stop)

    def lora(self, path: str) -> Lora:
        """``load_lora``, remembered until the file changes; beyond 4 GiB in all the ones used longest ago are dropped.

        The strength, scope and steps of a use are not part of it: changing them never reads the file again.
        """
        if not Path(path).is_file():
            return load_lora(path)  # raises, with the reason
        stamp = lora_stamp(path)
        known = self._loras.pop(path, None)
        entry = known if known and known[0] == stamp else (stamp, load_lora(path))
        self._loras[path] = entry  # at the end: the order is that of the last use
        while len(self._loras) > 1 and sum(lora.size for _, lora in self._loras.values()) > _LORA_MEMORY:
            self._loras.pop(next(iter(self._loras)))
        return entry[1]

    def preview_colours(self) -> torch.Tensor:
        """``fit_colours`` of this VAE, computed once, wherever the VAE is: no other part has to make room for it."""
        if self._colours is None:
            self.read_again("vae")
            vae = self.parts["vae"]
            self._colours = fit_colours(vae, str(next(vae.parameters()).device), self.dtype)
        return self._colours

    def identity(self, on_progress: Callable[[str, int, int], None] | None = None) -> dict[str, str]:
        """What decides pixels besides settings and inputs: sha256 of each file, type, device and versions.

        Names and places of files are not in it.
        """
        return engine_identity(self.files, self.device, self.dtype, on_progress, self.form, self.memory)


def engine_identity(
    files: ModelFiles,
    device: str,
    dtype: torch.dtype,
    on_progress: Callable[[str, int, int], None] | None = None,
    form: Form | None = None,
    memory: str = AUTO,
) -> dict[str, str]:
    """``Engine.identity`` of a model that is not loaded. ``device``, ``dtype``: as picked, not "auto".

    ``form``: the one that ``load_engine`` makes without further arguments, if not given. ``memory``: of the plans only
    ``fp8`` changes bits, and is named.
    """
    found = {
        f"{name.replace('_', ' ')} sha256": weights_sha256(path, name, on_progress)
        for name, path in files.weights().items()
    }
    for file in tokenizer_files(find_tokenizer(files.text_encoder, files.tokenizer)):
        found[f"{file.name} sha256"] = remembered_sha256(file, on_progress)
    form = form or Form(pick_attention("auto", device, dtype))
    stored = {"blocks stored as": "float8_e4m3fn, one scale a row"} if memory == FP8 else {}
    return {**found, **computing(device, dtype), **form.identity(), **stored}


def computing(device: str, dtype: torch.dtype) -> dict[str, str]:
    """The part of an identity that all nets have in common: number type, device, versions."""
    from importlib.metadata import version

    import torch

    place = torch.device(device)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
        "torch": torch.__version__,
        "diffsynth": version("diffsynth"),
        "arithmetic": str(_ARITHMETIC),
    }


def load_engine(
    files: ModelFiles,
    *,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    compiled: bool = False,
    kept: Kept | None = None,
    text_encoder: str = "auto",
    memory: str = AUTO,
    on_progress: Callable[[int, int, str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Engine:
    """Load transformer, VACE blocks, VAE and tokenizer; of the text encoder the header, the rest when a text needs it.

    ``device``: "auto", "cpu", "cuda", "cuda:1", "mps"... ``dtype``: one of ``DTYPES``; "auto" is bfloat16 on a GPU, and
    float32 on a CPU unless the transformer's files are large. ``attention``: one of ``attention.KERNELS``.
    ``compiled``: see ``compiled``; compiling takes up to a minute. Neither matters for ``precision="diffsynth"``.
    ``kept``: where text states and latents of pictures are kept between runs (``kept.open_kept()``), None for nowhere.
    ``text_encoder``: "keep", "release" or "auto", see ``text_states.may_stay``.
    ``memory``: one of ``memory_plan.CHOICES``; "auto" takes the quickest plan for which there is room when the engine
    is first used, and "fp8" also stores the transformer's blocks in 8 bits, which changes the pixels and cells' ids.
    ``on_progress(done, total, what)`` counts bytes.
    Raises ``ModelFileError`` for a file that is missing, damaged or of another kind; ``SettingsError`` for a device
    or a kernel that is not there, and where torch cannot compile; ``Interrupted`` when ``should_stop`` says so.
    """
    check_policy(text_encoder)
    keep_off_the_network()
    device = pick_device(device)
    check_memory(memory, device)
    kind = pick_dtype(dtype, device, files.transformer)
    form = Form(pick_attention(attention, device, kind))
    offload = device != "cpu"
    place = find_tokenizer(files.text_encoder, files.tokenizer)
    sizes = check_text_encoder(files.text_encoder)
    nets = [net for net in NETS if net != "text_encoder"]
    stamps = stamps_of(files, nets)
    parts = read_parts(files, nets, (device, kind, offload), on_progress, should_stop, memory == FP8)
    tokenizer = load_tokenizer(place)
    check_together((files.transformer, parts["dit"]), (files.text_encoder, sizes), tokenizer)
    log.info("Wan-VACE loaded on %s as %s", device, kind)
    if compiled:
        from .compiled import compile_form

        if on_progress:
            on_progress(1, 1, "compiling")
        form = compile_form(form, parts["dit"], device, kind)
    return Engine(
        *(files, parts, tokenizer, device, kind, offload),
        form=form,
        memory=memory,
        kept=kept,
        text_encoder=text_encoder,
        stamps=stamps,
    )
