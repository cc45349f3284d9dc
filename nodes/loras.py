"""LoRAs: their stack, and the stack as one file."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..s2v_core.errors import S2VError
from ..s2v_core.wan.settings import LoraUse, options
from . import host, sockets


class WanVaceLora(io.ComfyNode):
    """Names a LoRA and its strength; the sampler applies it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_WanVaceLora",
            display_name="Wan-VACE LoRA",
            category="Skeleton2Video/wan",
            description=(
                "Adds a LoRA to the stack. The model's weights are never changed, so strength 0 is exactly the base "
                "model and a sweep can vary the strength. It can act in parts of the model and in some steps only. A "
                "LoRA that does not fit the model is an error."
            ),
            inputs=[
                io.Combo.Input(
                    "lora", options=host.model_names("loras"), tooltip="A LoRA for Wan2.1, from models/loras."
                ),
                *(host.widget(entry, optional=entry.name != "strength") for entry in options(LoraUse)),
                sockets.Loras.Input("loras", display_name="LoRAs", optional=True, tooltip="LoRAs that come before it."),
            ],
            outputs=[
                sockets.Loras.Output("stack", display_name="LoRAs", tooltip="The stack with this LoRA at its end.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, lora: str, **_: Any) -> str:
        """Changes with the file."""
        try:
            return host.file_stamp(host.model_file("loras", lora))
        except (S2VError, OSError):
            return "missing"

    @classmethod
    def execute(cls, lora: str, loras: tuple[LoraUse, ...] = (), **values: Any) -> io.NodeOutput:
        """Append to the stack."""
        return io.NodeOutput((*loras, LoraUse(str(host.model_file("loras", lora)), **values)))


class ExportLora(io.ComfyNode):
    """Writes the stack as one LoRA file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="Skeleton2Video_ExportLora",
            display_name="Export LoRA",
            category="Skeleton2Video/wan",
            description=(
                "Writes the LoRAs with their strengths and scopes as one file into the output folder; ComfyUI's own "
                "LoRA loader, used at strength 1, then does the same."
            ),
            inputs=[
                sockets.Model.Input("model", tooltip="From Load Wan-VACE: it says where each layer belongs."),
                sockets.Loras.Input("loras", display_name="LoRAs", tooltip="From Wan-VACE LoRA."),
                io.String.Input("name", default="lora", tooltip="The file's name; a number is added."),
            ],
            outputs=[
                io.String.Output("path", display_name="path", tooltip="What was written."),
                io.String.Output("notes", display_name="notes", tooltip="What other programs do not apply, if any."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, model: Any, loras: tuple[LoraUse, ...], name: str) -> io.NodeOutput:
        """Write under the next free number."""
        from ..s2v_core.wan.lora_export import export_lora

        path = host.free_path(host.output_folder("loras"), host.file_stem(name), ".safetensors")
        progress = host.Progress(1)
        with host.interruptible() as should_stop:
            model.read_again("dit", "vace", should_stop=should_stop)
            made = export_lora(
                [(model.lora(use.file), use) for use in loras],
                (model.parts["dit"], model.parts["vace"]),
                path,
                on_progress=progress,
                should_stop=should_stop,
            )
        return io.NodeOutput(made.path, "\n".join(made.notes))
