"""The errors that a user sees: what was expected, what came, what to do."""

from __future__ import annotations


class S2VError(Exception):
    """Something that the user can understand and mend.

    ``problem`` is one sentence that names the file or the setting. ``expected``, ``got`` and ``remedy`` are
    each one short sentence or phrase, shown on lines of their own.
    """

    def __init__(self, problem: str, *, expected: str = "", got: str = "", remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.expected = expected
        self.got = got
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.problem]
        for label, text in (("expected", self.expected), ("came", self.got), ("what to do", self.remedy)):
            if text:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, str]:
        """The error for programs: its kind and its four sentences."""
        return {
            "kind": type(self).__name__,
            "problem": self.problem,
            "expected": self.expected,
            "got": self.got,
            "remedy": self.remedy,
        }


class SettingsError(S2VError):
    """A value, a combination of values or a name that cannot be used."""


class VideoError(S2VError):
    """A video or picture that cannot be read, is too short, or cannot be written."""


class ModelFileError(S2VError):
    """A model file that is missing, damaged, or of another kind than expected."""


class LoraError(ModelFileError):
    """A LoRA file that does not fit the model that it is applied to."""


class StoreError(S2VError):
    """A cell store that cannot be read or written, or belongs to something else."""


class DeviceMemoryError(S2VError):
    """A device without enough memory for what is asked of it, whatever else leaves it."""


class MissingPackageError(S2VError):
    """An optional package that this step needs is not installed."""


class Interrupted(Exception):
    """The user stopped a long piece of work. What was finished before is kept."""
