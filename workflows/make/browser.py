"""Chromium at a running ComfyUI, used as a person uses it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .schemas import ROOT

GET = "apt-get install chromium; npm install --prefix .cache/browser playwright-core"


def what_is_missing() -> str:
    """Why no browser can be started here, with what to do; "" when one can."""
    if not chromium():
        return f"there is no Chromium (or name one in S2V_CHROMIUM); run: {GET}"
    if not shutil.which("node"):
        return "there is no node; install Node.js"
    done = subprocess.run(
        ["node", "-e", "require('playwright-core')"], env=_environment(), capture_output=True, check=False
    )
    return f"node has no playwright-core; run: {GET}" if done.returncode else ""


def chromium() -> str:
    """The browser's program, or ""."""
    names = (os.environ.get("S2V_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), "")


def _environment() -> dict[str, str]:
    folders = [str(ROOT / ".cache" / "browser" / "node_modules"), os.environ.get("NODE_PATH", "")]
    return dict(os.environ, NODE_PATH=os.pathsep.join(filter(None, folders)))


class Browser:
    """A page of a running server. Every command of ``browser.js`` is a method; RuntimeError says what went wrong."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __getattr__(self, command: str) -> Any:
        return lambda **given: self._ask(command, given)

    def _ask(self, command: str, given: dict[str, Any]) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"command": command, **given}) + "\n")
        self._process.stdin.flush()
        return self.answer().get("said")

    def answer(self) -> dict[str, Any]:
        """The next line that the script says."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        said: dict[str, Any] = json.loads(line) if line else {"error": "the browser's script ended"}
        if "error" in said:
            raise RuntimeError(said["error"])
        return said


@contextlib.contextmanager
def opened(url: str, width: int = 1920, height: int = 1080) -> Iterator[Browser]:
    """A browser at the server ``url`` with a window of this size."""
    script = Path(__file__).with_name("browser.js")
    command = ["node", str(script), url, chromium(), str(width), str(height)]
    process = subprocess.Popen(command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        browser = Browser(process)
        browser.answer()
        yield browser
    finally:
        assert process.stdin
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
