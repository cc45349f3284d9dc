"""The pack as a whole: what it needs, what it costs to import, and which part may know which."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "s2v_core"
NODES = ROOT / "nodes"

HEAVY = {"torch", "torchvision", "diffsynth", "transformers", "diffusers", "onnxruntime", "controlnet_aux"}
HEAVY_FILES = HEAVY | {"cv2", "av", "matplotlib", "scipy", "numpy", "safetensors", "ai_edge_litert"}
HOST = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "nodes", "server", "execution"}

# A folder may import those to its left, never those to its right.
# Files that stand above the stages (the command line and its kin) are not in the list: they may use all of it.
ORDER = (
    *(
        "errors",
        "options",
        "files",
        "download",
        "litert",
        "onnxnet",
        "peak",
        "tensorfiles",
        "models",
        "get_models",
        "get_blazepose",
        "video",
    ),
    *(
        "aist",
        "pose",
        "prompts",
        "dataset",
        "wan",
        "sweeps",
        "training",
        "nano",
        "studio",
        "recipe",
        "metrics",
        "analysis",
        "assess",
        "sweep_report",
        "cli",
    ),
)

# A recipe opens a studio, and a studio reads what of its inputs a recipe would have named.
ALSO = {"studio": ("recipe",)}


def sources() -> list[Path]:
    return sorted([ROOT / "__init__.py", *CORE.rglob("*.py"), *NODES.rglob("*.py")])


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_file = pytest.mark.parametrize("path", sources(), ids=label)
core_files = pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=label)


def imports(tree: ast.AST) -> Iterator[tuple[int, int, str]]:
    """(line, level, dotted name) of every import below a node; level 0 is absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, 0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = f"{node.module}." if node.module else ""
            yield from ((node.lineno, node.level, base + alias.name) for alias in node.names)


def imports_at_import_time(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of the absolute imports that run when the file is imported: outside functions and TYPE_CHECKING."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((line, name) for line, level, name in imports(node) if level == 0)
        waiting.extend(ast.iter_child_nodes(node))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def absolute(path: Path, level: int, name: str) -> tuple[str, ...]:
    """The dotted path, from the repository's root, that a relative import in ``path`` means."""
    package = path.relative_to(ROOT).parts[:-1]
    return (*package[: len(package) - (level - 1)], *name.split("."))


# --- what it needs ------------------------------------------------------------------------------------------------


def project() -> dict:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        tomllib = pytest.importorskip("tomli")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def listed() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("#")
    return [line for line in lines if line and not line.startswith("#")]


def test_requirements_are_the_projects_dependencies_in_the_same_order():
    assert listed() == project()["project"]["dependencies"]


def test_every_requirement_can_be_read_by_pip_and_none_pins_the_hosts_packages():
    requirements = pytest.importorskip("packaging.requirements")
    read = [requirements.Requirement(line) for line in listed()]
    assert len({entry.name for entry in read}) == len(read)
    bounds = {entry.name: {bound.operator for bound in entry.specifier} for entry in read}
    for name in ("torch", "torchvision", "numpy"):
        assert bounds[name] <= {">=", "!="}
    for entry in read:
        assert not entry.url
        assert "==" not in bounds[entry.name]
    # The classes of DiffSynth that the loader builds on are known for 2.1 only.
    diffsynth = next(entry for entry in read if entry.name == "diffsynth")
    assert diffsynth.specifier.contains("2.1.12")
    assert not diffsynth.specifier.contains("2.2.0")


def test_everything_imported_is_a_dependency():
    """Each outside package that the core imports is listed, so that a fresh machine has it."""
    # Modules named unlike their package, and those that come with a dependency.
    names = {
        "PIL": "pillow",
        "yaml": "pyyaml",
        "cv2": "controlnet-aux",
        "skimage": "controlnet-aux",
        "psutil": "accelerate",
        "tokenizers": "transformers",
    }
    # Compiled on the user's machine, so only looked for.
    only_looked_for = {"dlib"}
    wanted = {re.split(r"[<>=!;\s]", line, maxsplit=1)[0].lower() for line in listed()} | only_looked_for
    missing = {
        f"{label(path)}:{line} {name}"
        for path in sorted(CORE.rglob("*.py"))
        for line, level, name in imports(parse(path))
        if level == 0
        and (top := name.split(".")[0]) not in sys.stdlib_module_names
        and names.get(top, top.replace("_", "-")).lower() not in wanted
    }
    assert not missing


def test_the_version_stands_in_one_place_or_twice_the_same():
    import s2v_core

    assert project()["project"]["version"] == s2v_core.__version__


# --- what it costs ------------------------------------------------------------------------------------------------

MEASURE = """
import importlib.util, json, sys, time
before = set(sys.modules)
start = time.process_time()
{code}
seconds = time.process_time() - start
print(json.dumps([seconds, sorted({{name.split(".")[0] for name in set(sys.modules) - before}})]))
"""

LONGEST_IMPORT = 0.5  # seconds
# As the host loads a custom node: by file, under a name made of the folder's path.
AS_THE_HOST = f"""
spec = importlib.util.spec_from_file_location(
    "custom_nodes.some-Folder_x_dot_y", {str(ROOT / "__init__.py")!r}, submodule_search_locations=[{str(ROOT)!r}]
)
pack = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = pack
spec.loader.exec_module(pack)
assert pack.WEB_DIRECTORY and callable(pack.comfy_entrypoint)
assert "s2v_core" not in sys.modules
"""


def measure(code: str, folder: Path, tries: int = 3) -> tuple[float, set[str]]:
    """The least CPU time and the packages that came with it, each time in a fresh interpreter.

    Only a time that is too long is measured again.
    """
    runs: list[tuple[float, list[str]]] = []
    while len(runs) < tries and (not runs or runs[-1][0] >= LONGEST_IMPORT):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE.format(code=code)], cwd=folder, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout))
    return min(seconds for seconds, _ in runs), set(runs[0][1])


@pytest.mark.parametrize("code", [AS_THE_HOST, "import s2v_core"], ids=["pack", "core"])
def test_importing_is_quick_and_light(code: str, tmp_path: Path):
    seconds, packages = measure(code, tmp_path if code == AS_THE_HOST else ROOT)
    assert not packages & HEAVY_FILES
    assert seconds < LONGEST_IMPORT


@pytest.mark.parametrize("module", ["aist.names", "prompts.template", "wan.settings", "files", "errors", "cli"])
def test_the_light_files_stay_light(module: str):
    seconds, packages = measure(f"import s2v_core.{module}", ROOT, tries=3)
    assert not packages & HEAVY_FILES
    assert seconds < LONGEST_IMPORT


@pytest.mark.parametrize(
    "path", [path for path in sorted(CORE.rglob("__init__.py")) if path.parent.name != "cli"], ids=label
)
def test_package_inits_import_nothing(path: Path):
    assert not [name for _, _, name in imports(parse(path)) if not name.startswith("__future__.")]


# --- what may know what -------------------------------------------------------------------------------------------


@every_file
def test_every_file_compiles_and_speaks_of_no_machine(path: Path):
    text = path.read_text(encoding="utf-8")
    compile(text, str(path), "exec")
    assert not re.search(r"""["'/](?:work|root|home)/\w""", text)


@every_file
def test_the_packs_own_imports_are_relative(path: Path):
    """The host gives the folder any name, so no file may call the pack by one."""
    own = {"s2v_core", "nodes", ROOT.name}
    wrong = [(line, name) for line, level, name in imports(parse(path)) if level == 0 and name.split(".")[0] in own]
    assert not wrong


@core_files
def test_the_core_knows_nothing_of_the_host(path: Path):
    found = imports(parse(path))
    assert not [(line, name) for line, level, name in found if level == 0 and name.split(".")[0] in HOST]
    assert not [
        (line, name)
        for line, level, name in imports(parse(path))
        if level and absolute(path, level, name)[0] != "s2v_core"
    ]


LIGHT_AT_IMPORT = [
    ROOT / "__init__.py",
    CORE / "__init__.py",
    *sorted(NODES.rglob("*.py")),
    *sorted(CORE.glob("cli/*.py")),
]


@pytest.mark.parametrize("path", LIGHT_AT_IMPORT, ids=label)
def test_the_doors_import_nothing_heavy(path: Path):
    assert not [(line, name) for line, name in imports_at_import_time(parse(path)) if name.split(".")[0] in HEAVY]


@core_files
def test_imports_go_one_way(path: Path):
    own = path.relative_to(CORE).with_suffix("").parts[0]
    if own not in ORDER[:-1]:
        return
    allowed = ORDER[: ORDER.index(own) + 1] + ALSO.get(own, ())
    later = {
        (line, ".".join(target))
        for line, level, name in imports(parse(path))
        if level and (target := absolute(path, level, name))[0] == "s2v_core" and len(target) > 1
        if target[1] not in (*allowed, "__version__")
    }
    assert not later


def test_every_folder_of_the_core_has_its_place_in_the_order():
    folders = {path.parent.relative_to(CORE).parts[0] for path in CORE.glob("*/**/*.py")}
    assert folders <= set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


def test_the_checks_see_what_they_must():
    """The walk itself: levels, aliases, functions and TYPE_CHECKING."""
    tree = ast.parse(
        "import torch.nn as n\nfrom . import b\nfrom ..wan.lora import use\nif TYPE_CHECKING:\n    import av\n"
        "try:\n    import cv2\nexcept ImportError:\n    pass\ndef f():\n    import scipy\nclass A:\n    import yaml\n"
    )
    assert {name for _, _, name in imports(tree)} == {"torch.nn", "b", "wan.lora.use", "av", "cv2", "scipy", "yaml"}
    assert {name for _, name in imports_at_import_time(tree)} == {"torch.nn", "cv2", "yaml"}
    here = CORE / "pose" / "track.py"
    assert absolute(here, 1, "draw") == ("s2v_core", "pose", "draw")
    assert absolute(here, 2, "wan.lora") == ("s2v_core", "wan", "lora")
    assert absolute(here, 3, "nodes.host") == ("nodes", "host")
