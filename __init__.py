"""Skeleton2Video for ComfyUI: the host imports this file, and nothing heavy comes with it."""

WEB_DIRECTORY = "./nodes/web"


async def comfy_entrypoint() -> object:
    """The extension with its nodes (API V3), imported here so that the pack costs the host nothing at start."""
    import logging

    try:
        from .nodes import Skeleton2VideoExtension
    except Exception:
        # The host shows only one line of an exception raised here.
        logging.exception("Skeleton2Video could not be loaded")
        raise
    return Skeleton2VideoExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
