"""A headless Chromium for the tests of what runs in the page. It needs node, playwright-core and Chromium.

playwright-core is looked for in NODE_PATH and in node_modules here and in the folders above; ``npm install
playwright-core`` anywhere above the tests, or NODE_PATH, is enough. Chromium: S2V_CHROMIUM, or chromium on the PATH.
"""

from __future__ import annotations

import base64
import json
import mimetypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

# A limit only: a busy machine must not decide whether a test passes.
SECONDS = 240
DRIVER = Path(__file__).with_name("browser.js")
# What newer frontends show to people who come for the first time.
QUIET = {
    "Comfy.TutorialCompleted": True,
    "Comfy.InstalledVersion": "1.99.0",
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
}


def chromium() -> str:
    """The browser; skips, loudly, where something is missing."""
    node = shutil.which("node")
    found = os.environ.get("S2V_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    there = node and subprocess.run([node, "-e", "require('playwright-core')"], cwd=DRIVER.parent, capture_output=True)
    if not (node and found and there and there.returncode == 0):
        pytest.skip(
            f"BROWSER TESTS SKIPPED: node {node}, Chromium {found}, playwright-core "
            f"{'found' if there and there.returncode == 0 else 'missing'}; install nodejs and chromium, and name in "
            "NODE_PATH the folder that `npm install playwright-core` filled"
        )
    return found


class Browser:
    """One page. Every call waits until it is done; what the page's scripts raise is in ``problems``."""

    def __init__(self) -> None:
        command = [shutil.which("node") or "node", str(DRIVER), chromium()]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def _read(self) -> Any:
        line = self.process.stdout.readline()
        assert line, f"the browser's driver ended with {self.process.wait()}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def do(self, command: str, **given: Any) -> Any:
        self.process.stdin.write(json.dumps({"command": command, **given}) + "\n")
        self.process.stdin.flush()
        return self._read()

    def open(self, url: str, **settings: Any) -> None:
        self.do("open", url=url, settings={**QUIET, **settings})

    def evaluate(self, code: str, arg: Any = None) -> Any:
        """The value of a function ``(arg) => ...`` in the page."""
        return self.do("evaluate", code=code, arg=arg)

    def wait(self, code: str, arg: Any = None, seconds: float = SECONDS) -> None:
        """Until the function gives something true."""
        self.do("wait", code=code, arg=arg, timeout=1000 * seconds)

    def click(self, selector: str) -> None:
        self.do("click", selector=selector)

    def hover(self, selector: str) -> None:
        self.do("hover", selector=selector)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.do("press", key=key)

    def shot(self, path: Path | str, selector: str = "") -> None:
        self.do("shot", path=str(path), selector=selector)

    def drop(self, file: Path) -> None:
        kind = mimetypes.guess_type(file.name)[0]
        self.do("drop", name=file.name, type=kind, base64=base64.b64encode(file.read_bytes()).decode())

    def load(self, workflow: dict[str, Any]) -> None:
        """Open a workflow (UI format)."""
        self.evaluate("(graph) => app.loadGraphData(graph, true, true)", workflow)

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
