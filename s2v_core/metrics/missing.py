"""Why a metric has no value."""

from __future__ import annotations


class Missing(Exception):
    """A metric cannot be computed of these inputs. The text is the reason, for people."""


def reason(error: Exception) -> str:
    """One line of an error: what it says, and what to do where that is known."""
    problem, remedy = getattr(error, "problem", str(error)), getattr(error, "remedy", "")
    return f"{problem} {remedy}".strip() if remedy else str(problem)
