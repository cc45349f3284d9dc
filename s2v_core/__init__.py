"""The core of Skeleton2Video: everything but ComfyUI. Importing it loads nothing heavy."""

__version__ = "0.1.0"
