"""``s2v lora``: LoRA files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..arguments import parse_lora_use
from .console import Json, Out, command, progress

lora_app = typer.Typer(help="LoRA files.", no_args_is_help=True)


@lora_app.callback()
def _group() -> None:
    """Keeps ``export`` a command of its own while it is the only one."""


@lora_app.command("export")
def export(
    transformer: Annotated[Path, typer.Option(help="The Wan2.1-VACE transformer that the LoRAs are for.")],
    lora: Annotated[
        list[str], typer.Option(help='FILE, FILE:STRENGTH or "FILE:STRENGTH;scope=only self_attn"; several times.')
    ],
    out: Out = Path("exported.safetensors"),
    as_json: Json = False,
) -> None:
    """Write LoRAs with their strengths and scopes as one file that ComfyUI's own loader reads."""
    with command(as_json) as done:
        import torch

        from ..wan.checkpoints import load_transformer
        from ..wan.lora_export import export_lora
        from ..wan.lora_file import load_lora

        uses = [parse_lora_use(text) for text in lora]
        nets = load_transformer(str(transformer), device="cpu", dtype=torch.bfloat16)
        with progress() as show:
            made = export_lora([(load_lora(use.file), use) for use in uses], nets, out, on_progress=show.layers)
        done({"file": made.path, "layers": made.layers, "rank": made.rank, "notes": list(made.notes)})
