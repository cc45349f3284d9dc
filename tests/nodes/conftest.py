"""A host's interpreter with the pack loaded, which starts no server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Loads the pack as the host does, from a folder with a name that Python would not allow for a package.
LOAD = """
import asyncio, importlib.util, json, sys
sys.argv = ["main.py", "--cpu", "--base-directory", BASE]
sys.path.insert(0, HOST)
import comfy.options
comfy.options.enable_args_parsing()
import comfy.model_management, comfy.utils, folder_paths
from comfy_api.latest import io
before = set(sys.modules)
spec = importlib.util.spec_from_file_location("my pack-1_x_0", PACK + "/__init__.py", submodule_search_locations=[PACK])
pack = importlib.util.module_from_spec(spec)
sys.modules["my pack-1_x_0"] = pack
spec.loader.exec_module(pack)
nodes = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
new = {name.split(".")[0] for name in set(sys.modules) - before}
host = sys.modules["my pack-1_x_0.nodes.host"]
named = {node.define_schema().node_id.removeprefix("Skeleton2Video_"): node for node in nodes}.__getitem__
"""

# Takes a line of JSON with code, and answers with a line that says what it printed.
SERVE = """
import contextlib, io as texts, traceback
names = dict(globals())
for line in sys.stdin:
    printed, error = texts.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed):
            exec(json.loads(line), dict(names))
    except BaseException:
        error = traceback.format_exc()
    print("ANSWER " + json.dumps({"printed": printed.getvalue(), "error": error}), flush=True)
"""
SECONDS = 120


@pytest.fixture(scope="module")
def in_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Runs code with the pack loaded (``nodes``, ``host``, ``new``) in a host's interpreter; gives what it prints.

    The interpreter is one for all tests, for the host takes seconds to import; each code has names of its own.
    """
    root = Path(os.environ.get("COMFY_ROOT") or Path.home() / "comfy" / "ComfyUI").expanduser()
    if not (root / "main.py").is_file():
        pytest.skip(f"NODE TESTS SKIPPED: no ComfyUI at {root}; name a checkout in COMFY_ROOT")
    base = tmp_path_factory.mktemp("base")
    (base / "input").mkdir()
    (base / "output").mkdir()

    head = f"BASE, HOST, PACK = {str(base)!r}, {str(root)!r}, {str(ROOT)!r}\n"
    environment = dict(os.environ, PYTHONPATH=os.environ.get("COMFY_OVERLAY", ""), PYTHONDONTWRITEBYTECODE="1")
    log = base / "stderr"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", head + LOAD + SERVE],
            cwd=base,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdin and process.stdout

    def run(code: str) -> Any:
        too_slow = threading.Timer(SECONDS, process.kill)
        too_slow.start()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(code) + "\n")
            process.stdin.flush()
        answer = next((line for line in process.stdout if line.startswith("ANSWER ")), None)
        too_slow.cancel()
        if answer is None:
            error = log.read_text(errors="replace").strip()
            if "No module named" in error and "my pack" not in error.splitlines()[-1]:
                pytest.skip(f"NODE TESTS SKIPPED: {error.splitlines()[-1]}; install {root}/requirements.txt")
            pytest.fail(f"the host's interpreter ended: {error}")
        said = json.loads(answer.removeprefix("ANSWER "))
        assert not said["error"], said["error"]
        return json.loads(said["printed"].splitlines()[-1])

    yield run
    process.stdin.close()
    process.kill()
    process.wait()
