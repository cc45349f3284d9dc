"""The host's web server: what the pack's own scripts in the browser ask it, and what it tells them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def running() -> Any:
    """The host's running server, or None where nodes run without one."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def tell(kind: str, said: dict[str, Any]) -> None:
    """Send a message to every page that is open. Without a running server nothing happens."""
    if (server := running()) is not None:
        server.send_sync(kind, said)


def answer_posts(path: str, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer POST requests of the pack's own scripts, JSON for JSON. Without a running server nothing happens."""
    if (server := running()) is None:
        return
    from aiohttp import web

    async def handle(request: Any) -> Any:
        try:
            asked = await request.json()
            return web.json_response(answer(asked))
        except (TypeError, ValueError, KeyError) as error:
            return web.json_response({"problem": str(error)}, status=400)

    server.routes.post(path)(handle)
