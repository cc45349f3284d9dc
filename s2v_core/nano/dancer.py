"""Real dances for the toy world's people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .world import Scene, reference_take

if TYPE_CHECKING:
    from ..pose.track import PoseTrack


def on_body(track: PoseTrack, made: Scene) -> PoseTrack:
    """A pose track, tidied, danced by this scene's person in its picture. Raises what ``retarget`` raises."""
    from ..pose.retarget import retarget
    from ..pose.settings import RetargetSettings
    from ..pose.tidy import tidy

    body = reference_take(made.character, made.motion, seed=made.seed)
    return retarget(tidy(track), body.track, RetargetSettings(place="centre", size="fit")).track
