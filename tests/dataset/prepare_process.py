"""Prepares toy videos in a process of its own, for a test to kill: the videos' folder, the dataset."""

from __future__ import annotations

import sys
from pathlib import Path

from s2v_core.aist.catalog import scan_folder
from s2v_core.dataset.prepare import Sources, prepare
from tests.dataset.toy_videos import settings

if __name__ == "__main__":
    videos, out = map(Path, sys.argv[1:])
    result = prepare(scan_folder(videos), out, settings(), sources=Sources(keypoints=videos / "keypoints2d"), workers=2)
    print(result.made, result.kept, len(result.problems))
