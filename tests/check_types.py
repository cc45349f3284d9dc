"""Run mypy over the pack as the host sees it: a package of any name, with ``nodes`` and ``s2v_core`` inside it.

``nodes`` imports ``..s2v_core``, so mypy needs the repository to be a package; its folder may have a name that Python
does not allow for one, so mypy gets it through a link.
"""

import subprocess
import sys
from pathlib import Path

root = Path(__file__).resolve().parents[1]
link = root / ".cache" / "types" / "skeleton2video"
link.parent.mkdir(parents=True, exist_ok=True)
if link.is_symlink() and link.resolve() != root:
    link.unlink()  # a copied or shared .cache
if not link.is_symlink():
    link.symlink_to(root, target_is_directory=True)
command = [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml"), "-p", "skeleton2video.s2v_core"]
command += ["-p", "skeleton2video.nodes"]
sys.exit(subprocess.run(command, cwd=link.parent, check=False).returncode)
