from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from s2v_core.prompts.template import VARIANTS

NAME = "gKR_sSH_c10_d28_mKR5_ch02"


def s2v(*given: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "s2v_core.cli", "prompt", *map(str, given)], capture_output=True, timeout=60, check=False
    )


def test_all_variants_with_sources_twice_the_same_bytes(tmp_path: Path):
    card = tmp_path / "card.yaml"
    card.write_text("who: a woman\nhair: short red hair\nlight: neon light\n", encoding="utf-8")
    given = (NAME, "--subject-card", card, "--variants", "--json")
    first, second = s2v(*given), s2v(*given)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    said = json.loads(first.stdout)
    assert [one["variant"] for one in said["variants"]] == list(VARIANTS)
    for one in said["variants"]:
        assert " ".join(sentence for sentence, _ in one["origins"]) == one["text"]
        assert one["warning"] == "" and one["words"] == len(one["text"].split())
    assert {"fact": "short red hair", "kind": "hair", "origin": "user"} in said["sources"]
    assert {fact["origin"] for fact in said["sources"]} == {"user", "file name", "genre"}
    shown = s2v(*given[:-1]).stdout.decode()
    assert all(f"{variant}, sources" in shown for variant in VARIANTS)


def test_errors_and_a_long_text(tmp_path: Path):
    card = tmp_path / "card.yaml"
    card.write_text("hairs: red\n", encoding="utf-8")
    wrong = s2v(NAME, "--subject-card", card, "--json")
    assert wrong.returncode == 1 and "unknown field" in json.loads(wrong.stdout)["error"]["problem"]
    long = s2v(NAME, "--subject", "a man in a very long coat " * 100, "--json")
    assert "umT5 reads 512" in json.loads(long.stdout)["warning"] and b"umT5 reads 512" in long.stderr


def test_no_model_library_is_loaded():
    code = (
        "import sys; from s2v_core.prompts import facts, guard, template, caption_text, length;"
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'numpy', 'yaml', 'PIL') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"
