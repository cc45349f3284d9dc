"""The renderers of sweeps that name models, dances and references by their files.

Nothing is loaded before it is needed: a plan needs hashes and poses, only a rendering needs a model. One model is in
memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SettingsError
from .video.read import read_clip
from .video.still import read_mask, read_reference
from .wan.engine import Engine, ModelFiles, engine_identity, load_engine, pick_device, pick_dtype
from .wan.flops import NetSizes
from .wan.kept import open_kept
from .wan.lora_file import load_lora, lora_sha256, lora_stamp
from .wan.memory_plan import AUTO, FP8, MemoryPlan, NetNeed, check_memory, free_memory, net_needs, plan_memory
from .wan.pictures import References
from .wan.render import Renderer, needed_texts, picture_fingerprint
from .wan.settings import SampleSettings

if TYPE_CHECKING:
    from .prompts.prompt import Prompt
    from .recipe import Control
    from .sweeps.axes import Cell
    from .sweeps.scene import PoseSource, Scene
    from .video.clip import Clip


@dataclass(eq=False)
class Studio:
    """Called with a scene and settings it gives their renderer, as ``sweeps.run_sweeps`` wants it.

    ``device``, ``dtype``, ``memory``: as for ``load_engine``. ``on_pose(done, total)``: frames whose pose is found.
    ``own``: a renderer whose model and pictures stand for what a scene leaves open; its model stays loaded. ``on_plan``
    hears the memory plan before the first rendering, and whenever it is another one.
    """

    device: str = "auto"
    dtype: str = "auto"
    on_pose: Callable[[int, int], None] | None = None
    own: Renderer | None = None
    memory: str = AUTO
    on_plan: Callable[[MemoryPlan], None] | None = None
    _told: tuple[ModelFiles, str] | None = field(default=None, repr=False)
    _engine: Engine | None = field(default=None, repr=False)
    _identities: dict[ModelFiles, dict[str, str]] = field(default_factory=dict, repr=False)
    _controls: dict[Any, Control] = field(default_factory=dict, repr=False)
    _pictures: dict[Any, Any] = field(default_factory=dict, repr=False)
    _loras: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    _renderers: dict[Any, SceneRenderer] = field(default_factory=dict, repr=False)
    _awaited: dict[ModelFiles, list[str]] = field(default_factory=dict, repr=False)

    def __call__(self, scene: Scene, settings: SampleSettings) -> SceneRenderer:
        """The renderer of a scene. Raises ``SettingsError`` for a scene without a model, and what reading raises."""
        # The pose is extracted at the size and length of the rendering.
        key = (scene, settings.width, settings.height, settings.frames)
        if key not in self._renderers:
            self._renderers[key] = self._make(scene, self._model(scene), settings)
        return self._renderers[key]

    def control(self, pose: PoseSource, settings: SampleSettings) -> Control | None:
        """The pose video of a source at the settings' size and length, made once; None for an empty source."""
        from .recipe import control_from_dance, control_from_pose_video

        if not pose.file:
            return None
        key = (pose, settings.width, settings.height, settings.frames)
        if key not in self._controls:
            if pose.drawn:
                self._controls[key] = control_from_pose_video(pose.file, settings)
            else:
                self._controls[key] = control_from_dance(
                    pose.file, settings, start=pose.start, on_progress=self.on_pose
                )
        return self._controls[key]

    def engine(self, files: ModelFiles) -> Engine:
        """The loaded model; another one that was loaded is let go first."""
        own = self.own.engine if self.own else None
        if self._engine is None or self._engine.files != files:
            self.close()
            if own and own.files == files:
                self._engine = own
            else:
                if own:
                    own.use()  # leaves its device to the other
                kept = own.kept if own else open_kept()
                self._engine = load_engine(files, device=self.device, dtype=self.dtype, memory=self.memory, kept=kept)
                if own:
                    self._engine.mover, self._engine.reader = own.mover, own.reader
        return self._engine

    def awaited(self, files: ModelFiles) -> list[str]:
        """The texts that the renderers of one model are going to need, a list that they share."""
        return self._awaited.setdefault(files, [])

    def close(self) -> None:
        """Let go of the loaded model, unless it is ``own``'s."""
        if self._engine and not (self.own and self._engine is self.own.engine):
            self._engine.release()
        self._engine = None
        for renderer in self._renderers.values():
            renderer.forget()

    def identity(self, files: ModelFiles) -> dict[str, str]:
        """``Engine.identity`` of a model that need not be loaded."""
        if files not in self._identities:
            if self.own and self.own.engine.files == files:
                self._identities[files] = self.own.engine.identity(self.own.on_hash)
            else:
                device = pick_device(self.device)
                kind = pick_dtype(self.dtype, device, files.transformer)
                self._identities[files] = engine_identity(files, device, kind, memory=self.memory)
        return self._identities[files]

    def memory_plans(self, cells: Iterable[Cell]) -> list[MemoryPlan]:
        """For each model of these cells, the plan for the most that any of them needs of each net. Nothing is loaded.

        Raises ``SettingsError`` for a plan that cannot be.
        """
        device = pick_device(self.device)
        check_memory(self.memory, device)
        most: dict[ModelFiles, dict[str, NetNeed]] = {}
        for cell in cells:
            files = self._model(cell.scene)
            kind = pick_dtype(self.dtype, device, files.transformer)
            needs = net_needs(files, cell.settings, kind, eight_bit=self.memory == FP8)
            known = most.setdefault(files, needs)
            most[files] = {net: max(need, known[net], key=lambda one: one.working) for net, need in needs.items()}
        free = free_memory(device) if most else None
        return [plan_memory(self.memory, device, needs, free) for needs in most.values()]

    def tell_plan(self, engine: Engine, settings: SampleSettings) -> None:
        """Say the plan of an engine for what comes, where it has not been said yet."""
        if self.on_plan and not engine.mover:
            engine.expected = settings
            plan = engine.memory_plan()
            if self._told != (engine.files, plan.name):
                self._told = (engine.files, plan.name)
                self.on_plan(plan)

    def lora_sha256(self, file: str) -> str:
        """The sha256 of a LoRA file; raises ``LoraError`` when it is missing or no LoRA."""
        if not Path(file).is_file() or self._loras.get(file) != lora_stamp(file):
            load_lora(file)
            self._loras[file] = lora_stamp(file)
        return lora_sha256(file)

    def _model(self, scene: Scene) -> ModelFiles:
        own = self.own.engine.files if self.own else None
        if scene.model is None:
            if own is None:
                raise SettingsError("The sweep names no models.", remedy="Add `models` with three paths.")
            return own
        # A transformer alone goes with the other parts of the own model.
        return replace(own, transformer=scene.model.transformer) if own and not scene.model.vae else scene.model

    def _make(self, scene: Scene, model: ModelFiles, settings: SampleSettings) -> SceneRenderer:
        own = self.own
        made = SceneRenderer(self, model)
        if own:
            made = SceneRenderer(self, model, own.control, own.reference, own.mask, own.start)
        if scene.pose:
            control = self.control(scene.pose, settings)
            made.control = control.clip if control else None
        if scene.reference is not None:
            made.references = [self._read(path, read_reference) for path in scene.reference]
        if scene.mask:
            made.mask = self._read(scene.mask, read_mask)
        if scene.start_clip:
            made.start = read_clip(scene.start_clip, frames=settings.frames)
        return made

    def _read(self, path: str, read: Callable[[str], Any]) -> Any:
        if path not in self._pictures:
            self._pictures[path] = read(path)
        return self._pictures[path]


@dataclass(eq=False)
class SceneRenderer:
    """A ``wan.render.Renderer`` whose model is loaded at the first rendering."""

    studio: Studio
    model: ModelFiles
    control: Clip | None = None
    references: References = None
    mask: Any = None
    start: Clip | None = None
    _renderer: Renderer | None = field(default=None, repr=False)

    @cached_property
    def net_sizes(self) -> NetSizes:
        """As ``wan.render.Renderer.net_sizes``."""
        return NetSizes.of(self.model)

    @property
    def shares_steps(self) -> bool:
        """``render`` can take steps from other renderings."""
        return True

    @property
    def gives_latents(self) -> bool:
        """``render`` can hand out the latents of the finished clip."""
        return True

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """As ``wan.render.Renderer.fingerprint``."""
        pictures = picture_fingerprint(self.control, self.references, self.mask, self.start)
        return self.studio.identity(self.model) | pictures

    def expect(self, wanted: Iterable[tuple[Prompt, SampleSettings]]) -> None:
        """As ``wan.render.Renderer.expect``."""
        awaited = self.studio.awaited(self.model)
        awaited += [text for text in needed_texts(wanted) if text not in awaited]

    def lora_sha256(self, file: str) -> str:
        """The sha256 of a LoRA file; raises ``LoraError`` when it is missing or no LoRA."""
        return self.studio.lora_sha256(file)

    def render(
        self,
        prompt: Prompt,
        settings: SampleSettings,
        *,
        on_step: Callable[[Any], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        **more: Any,
    ) -> Clip:
        """One clip; as ``wan.render.Renderer.render``, after loading the model where it is not loaded."""
        engine = self.studio.engine(self.model)
        self.studio.tell_plan(engine, settings)
        if self._renderer is None:
            self._renderer = Renderer(engine, self.control, self.references, mask=self.mask, start=self.start)
            self._renderer.awaited = self.studio.awaited(self.model)
        return self._renderer.render(prompt, settings, on_step=on_step, should_stop=should_stop, **more)

    def forget(self) -> None:
        """Let go of the model and of what it encoded."""
        self._renderer = None
