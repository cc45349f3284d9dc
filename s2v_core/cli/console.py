"""What the commands share: options, the running of a command's body, and progress."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ..errors import Interrupted, S2VError
from ..options import Option, option, options
from ..wan.settings import SampleSettings

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where to write.")]
Size = Annotated[str, typer.Option(help="Width x height in pixels, for example 832x480; the clip's own by default.")]
Start = Annotated[float, typer.Option(min=0, help="Seconds into the clip.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps...")]
Dtype = Annotated[str, typer.Option(help="Type of the weights: auto, bfloat16, float16 or float32.")]
Memory = Annotated[
    str,
    typer.Option(
        help="Which weights are on the device when: auto, resident, text_offload, offload, streaming or sequential, "
        "all with the same pixels; fp8 also stores the transformer in 8 bits, with other pixels."
    ),
]


def setting(name: str, kind: type = SampleSettings, flag: str = "") -> Any:
    """A command line option for a field of a settings class: its help, range and choices come from there.

    ``flag``: its name on the command line, that of the field when empty.
    """
    return _typed(option(kind, name), flag)


def with_settings(kind: type, parameter: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each field of a settings class in place of its ``parameter``.

    The command gets their values there, by name: it makes the settings inside ``command``, where errors are shown.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        entries = options(kind)
        hints = get_type_hints(function, include_extras=True)

        def call(**values: Any) -> None:
            settings = {entry.name: values.pop(entry.name) for entry in entries}
            function(**values, **{parameter: settings})

        shown: list[inspect.Parameter] = []
        for old in inspect.signature(function).parameters.values():
            if old.name == parameter:
                shown += [
                    inspect.Parameter(
                        entry.name,
                        old.KEYWORD_ONLY,
                        default=entry.default,
                        annotation=Annotated[type(entry.default), _typed(entry)],
                    )
                    for entry in entries
                ]
            else:
                shown.append(old.replace(kind=old.KEYWORD_ONLY, annotation=hints[old.name]))
        call.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        call.__annotations__ = {entry.name: entry.annotation for entry in shown}
        call.__name__, call.__doc__ = function.__name__, function.__doc__
        return call

    return decorate


def _typed(entry: Option, flag: str = "") -> Any:
    text = entry.help + (f" One of {', '.join(entry.choices)}." if entry.choices else "")
    plain = entry.choices or isinstance(entry.default, (bool, str))
    numbers: dict[str, Any] = {} if plain else {"min": entry.minimum, "max": entry.maximum}
    return typer.Option(*((flag,) if flag else ()), help=text, **numbers)


@contextlib.contextmanager
def command(as_json: bool) -> Iterator[Any]:
    """Run a command's body: its result goes to stdout at the end, everything else to stderr, errors to exit code 1."""
    from ..report import print_json, print_result

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s")
    outcome: dict[str, Any] = {}

    def done(result: dict[str, Any], *, note: str = "", failed: bool = False) -> None:
        outcome.update(result=result, note=note, failed=failed)

    stdout = sys.stdout
    try:
        # Libraries that print on the way must not get between a program and its JSON.
        with contextlib.redirect_stdout(sys.stderr):
            yield done
    except S2VError as error:
        if as_json:
            print_json({"error": error.to_dict()}, stdout)
        else:
            typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None
    except (Interrupted, KeyboardInterrupt) as error:
        said = str(error) or "Stopped. What was finished is kept."
        if as_json:
            print_json({"error": {"kind": "Interrupted", "problem": said}}, stdout)
        else:
            typer.secho(said, fg=typer.colors.YELLOW, err=True)
        raise typer.Exit(130) from None
    if outcome:
        result = json.loads(json.dumps(outcome["result"], default=str))
        if as_json:
            print_json(result, stdout)
        else:
            print_result(result, outcome["note"])
        if outcome["failed"]:
            raise typer.Exit(1)


@contextlib.contextmanager
def progress() -> Iterator[Any]:
    """Progress bars on stderr: a ``report.Show``."""
    from ..report import Show

    with Show(live_console()) as show:
        yield show


def say(text: str) -> None:
    """A line on stderr."""
    typer.echo(text, err=True)


def agreed(question: str) -> bool:
    """Whether the person at the keyboard says yes. Nobody there means no."""
    return sys.stdin is not None and sys.stdin.isatty() and typer.confirm(question, err=True)


def live_console() -> Console:
    """Where progress is shown: stderr."""
    from rich.console import Console

    return Console(stderr=True)
