from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from s2v_core.aist.catalog import make_entry, scan_folder
from s2v_core.dataset.manifest import COLUMNS, read_report, read_rows
from s2v_core.dataset.prepare import Progress, Sources, prepare
from s2v_core.errors import Interrupted, SettingsError
from s2v_core.files import sha256_file
from s2v_core.pose.track_file import load_track
from s2v_core.prompts.facts import SubjectCard
from s2v_core.video.clip import Clip
from s2v_core.video.read import read_clip
from s2v_core.video.write import write_clip
from tests.dataset.toy_videos import contents, frames_of, names, settings, write_keypoints, write_videos

NAME = "gBR_sBM_c01_d04_mBR0_ch01"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"), names(3))


@pytest.fixture(scope="module")
def made(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips, prepared in this process."""
    out = tmp_path_factory.mktemp("made") / "dataset"
    result = prepare(scan_folder(videos), out, settings(), sources=points_of(videos))
    assert (result.made, result.kept, result.problems) == (3, 0, ())
    return out


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    """A copy of it to work on."""
    return Path(shutil.copytree(made, tmp_path / "dataset"))


def points_of(videos: Path, **more: object) -> Sources:
    return Sources(keypoints=videos / "keypoints2d", **more)  # type: ignore[arg-type]


def test_the_folder_is_what_training_reads(videos: Path, made: Path):
    with (made / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 3
    assert all((made / row[column]).is_file() for row in rows for column in COLUMNS if column != "prompt")
    assert all(not Path(row["video"]).is_absolute() for row in rows)
    assert "break dance with basic choreography" in rows[0]["prompt"]
    clip, control = (read_clip(made / rows[0][column], frames=None) for column in ("video", "vace_video"))
    assert clip.frames.shape == control.frames.shape == (17, 48, 64, 3) and clip.fps == control.fps == 16
    assert {path.name for path in made.iterdir()} == {
        *("clips", "controls", "references", "poses", ".lock", "manifest.jsonl", "metadata.csv", "report.json")
    }


def test_the_manifest_says_where_everything_comes_from(videos: Path, made: Path):
    row = read_rows(made)[0]
    source = videos / f"{NAME}.mp4"
    assert row["id"] == NAME and row["source"]["sha256"] == sha256_file(source)
    assert row["source"]["fps"] == "24" and row["source"]["start"] == str(Fraction(151, 500))
    assert all(sha256_file(made / name) == facts["sha256"] for name, facts in row["files"].items())
    assert set(row["files"]) == {row[key] for key in ("video", "vace_video", "vace_reference_image", "pose")}
    assert row["facts"]["genre name"] == "Break" and row["facts"]["tempo"] == 80
    assert ["AIST++" in text for text in row["attribution"]] == [False, True]
    report = read_report(made)
    assert report["clips"] == 3 and report["settings"]["size"] == "64x48" and not report["problems"]


def test_pictures_pose_and_first_frame_belong_together(videos: Path, made: Path):
    from PIL import Image

    row = read_rows(made)[0]
    start = Fraction(row["source"]["start"])
    wanted = read_clip(videos / f"{NAME}.mp4", frames=17, size=(64, 48), start=start)
    with Image.open(made / row["vace_reference_image"]) as picture:
        assert (np.asarray(picture) == wanted.frames[0]).all()
    track = load_track(made / row["pose"])
    assert track.canvas == (48, 64) and len(track) == 17 and track.found.all()
    # The sway of the keypoints at the moments of the frames, on the crop of the 1920 x 1080 picture to 4:3.
    times = np.array([float(start + Fraction(k, 16)) for k in range(17)])
    nose = 32 + (200 * np.sin(np.round(times * 60) / 20)) * 48 / 1080
    assert np.abs(track.points[:, 0, 0, 0] - nose).max() < 0.5


def test_again_does_nothing_and_changes_nothing(videos: Path, dataset: Path):
    before = contents(dataset)
    stamps = {path: path.stat().st_mtime_ns for path in dataset.rglob("*/*")}
    seen: list[Progress] = []
    result = prepare(
        scan_folder(videos), dataset, settings(), sources=points_of(videos), on_progress=seen.append, workers=2
    )
    assert (result.made, result.kept) == (0, 3) and seen == [Progress(3, 3, "", "")]
    assert contents(dataset) == before and {path: path.stat().st_mtime_ns for path in dataset.rglob("*/*")} == stamps


def test_only_what_changed_is_made_again(videos: Path, dataset: Path, tmp_path: Path):
    before = contents(dataset)
    source = Path(shutil.copytree(videos, tmp_path / "copy"))
    rows = read_rows(dataset)
    (dataset / rows[0]["video"]).unlink()
    (dataset / rows[1]["pose"]).write_bytes(b"short")
    # A copied file has another time of change, and is the same video.
    os.utime(source / f"{rows[2]['id']}.mp4")
    result = prepare(scan_folder(source), dataset, settings(), sources=points_of(source))
    assert (result.made, result.kept) == (2, 1)
    after = contents(dataset)
    assert {name for name in before if before[name] != after[name]} <= {"manifest.jsonl"}
    # Another clip under the same name and of the same size, another prompt, another card.
    other = source / f"{rows[2]['id']}.mp4"
    other.write_bytes(bytes(reversed(other.read_bytes())))
    result = prepare(scan_folder(source), dataset, settings(), sources=points_of(source))
    assert (result.made, result.kept, len(result.problems)) == (0, 2, 1)
    assert not list(dataset.glob(f"*/{rows[2]['id']}.*")), "the clip of the other video is not of this dataset"
    result = prepare(
        scan_folder(videos), dataset, settings(), sources=points_of(videos, card=SubjectCard(hair="red hair"))
    )
    assert result.made == 3 and all("red hair" in row["prompt"] for row in read_rows(dataset))


def test_other_settings_leave_nothing_old_behind_but_only_when_they_are_done(videos: Path, dataset: Path):
    before = contents(dataset)
    seen: list[Progress] = []
    given = {"sources": points_of(videos), "on_progress": seen.append}
    with pytest.raises(Interrupted):
        prepare(scan_folder(videos), dataset, settings(container="mkv"), should_stop=lambda: bool(seen), **given)
    assert (dataset / "metadata.csv").read_text().count("clips/") == 1, "only what has the new settings"
    assert len(read_rows(dataset)) == 3 and before.items() - contents(dataset).items() <= {
        item for item in before.items() if item[0] in ("manifest.jsonl", "metadata.csv", "report.json")
    }
    # Whoever did not mean it goes back, and what was not made anew is still there.
    assert prepare(scan_folder(videos), dataset, settings(), **given).kept == 2
    assert contents(dataset) == before
    prepare(scan_folder(videos), dataset, settings(container="mkv"), **given)
    assert {path.suffix for path in (dataset / "clips").iterdir()} == {".mkv"}


def test_a_bad_clip_is_a_problem_and_stops_nobody(videos: Path, tmp_path: Path):
    source = Path(shutil.copytree(videos, tmp_path / "copy"))
    first, second, third = sorted(source.glob("*.mp4"))
    first.write_bytes(b"no video at all")
    (source / "keypoints2d" / f"{second.stem.replace('c01', 'cAll')}.pkl").unlink()
    (source / "holiday.mp4").write_bytes(b"x")
    seen: list[Progress] = []
    result = prepare(
        scan_folder(source), tmp_path / "out", settings(), sources=points_of(source), on_progress=seen.append
    )
    assert result.made == 1 and [problem["id"] for problem in result.problems] == [first.stem, second.stem]
    report = read_report(tmp_path / "out")
    assert "is not a video" in report["problems"][0]["problem"] and report["problems"][0]["remedy"]
    assert "does not exist" in report["problems"][1]["problem"]
    assert report["refused"] == [{"file": "holiday.mp4", "reason": report["refused"][0]["reason"]}]
    assert [row["id"] for row in read_rows(tmp_path / "out")] == [third.stem]
    assert [bool(event.problem) for event in seen] == [True, True, False] and seen[-1].done == 3
    # Mended, it is made with the next call.
    shutil.copy(videos / first.name, first)
    again = prepare(scan_folder(source), tmp_path / "out", settings(), sources=points_of(source))
    assert (again.made, again.kept, len(again.problems)) == (1, 1, 1)


def test_a_stop_keeps_what_was_finished(videos: Path, made: Path, tmp_path: Path):
    out, seen = tmp_path / "out", []
    with pytest.raises(Interrupted, match="1 of 3 clips"):
        prepare(
            scan_folder(videos),
            out,
            settings(),
            sources=points_of(videos),
            on_progress=seen.append,
            should_stop=lambda: bool(seen),
        )
    assert len(read_rows(out)) == 1 and (out / "metadata.csv").read_text().count("clips/") == 1
    assert not (out / ".work").exists()
    result = prepare(scan_folder(videos), out, settings(), sources=points_of(videos))
    assert (result.made, result.kept) == (2, 1) and contents(out) == contents(made)


def test_splits_have_tables_of_their_own(videos: Path, dataset: Path):
    ids = [row["id"] for row in read_rows(dataset)]
    splits = dict(zip(ids, ("train", "val", "test"), strict=True))
    result = prepare(scan_folder(videos), dataset, settings(), sources=points_of(videos), splits=splits)
    assert result.kept == 3, "another split is no reason to make a clip again"
    for split, name in (("train", "metadata.csv"), ("val", "metadata_val.csv"), ("test", "metadata_test.csv")):
        text = (dataset / name).read_text()
        assert [key for key in ids if key in text] == [key for key in ids if splits[key] == split]
    splits = {**splits, ids[1]: "train", ids[2]: "unused"}
    with pytest.raises(SettingsError, match="holds 1 clips that are not in this choice"):
        prepare(scan_folder(videos), dataset, settings(), sources=points_of(videos), splits=splits)
    prepare(scan_folder(videos), dataset, settings(), sources=points_of(videos), splits=splits, others="keep")
    assert (dataset / "metadata_test.csv").exists() and not (dataset / "metadata_val.csv").exists()
    prepare(scan_folder(videos), dataset, settings(), sources=points_of(videos), splits=splits, others="remove")
    assert not (dataset / "metadata_test.csv").exists() and not list(dataset.glob(f"*/{ids[2]}.*"))
    assert read_report(dataset)["left out by the split"] == 1


def test_clips_of_any_name_need_no_facts(tmp_path: Path):
    write_clip(Clip(frames_of("x", 20), Fraction(16)), tmp_path / "in" / "my dance.mp4")
    (tmp_path / "t.csv").write_text('file,prompt\nmy dance.mp4,"A dancer, by hand."\n')
    from s2v_core.aist.facts_table import load_facts

    catalog = scan_folder(tmp_path / "in", load_facts(tmp_path / "t.csv"))
    refused = prepare(catalog, tmp_path / "a", settings(), sources=Sources(keypoints=tmp_path / "in"))
    assert "AIST++ has no keypoints of my dance.mp4" in refused.problems[0]["problem"]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"sources": Sources()}, "keypoints are not given"),
        ({"sources": Sources(keypoints=Path("/nowhere"))}, "There is no folder"),
        ({"others": "what"}, "cannot be treated"),
        ({"workers": -1}, "so many workers"),
    ],
)
def test_what_does_not_fit_together_is_told_before_anything_is_written(
    videos: Path, tmp_path: Path, more: dict, problem: str
):
    given = {"sources": points_of(videos), **more}
    with pytest.raises(SettingsError, match=problem):
        prepare(scan_folder(videos), tmp_path / "out", settings(), **given)
    assert not (tmp_path / "out").exists()


def test_one_run_at_a_time(videos: Path, dataset: Path):
    from filelock import FileLock

    with FileLock(dataset / ".lock"), pytest.raises(SettingsError, match="Another run"):
        prepare(scan_folder(videos), dataset, settings(), sources=points_of(videos))


def test_a_manifest_that_is_none_is_not_written_over(videos: Path, tmp_path: Path):
    (tmp_path / "manifest.jsonl").write_text("my notes\n")
    with pytest.raises(SettingsError, match="line 1 is not a row"):
        prepare(scan_folder(videos), tmp_path, settings(), sources=points_of(videos))
    assert (tmp_path / "manifest.jsonl").read_text() == "my notes\n"


@pytest.mark.parametrize("size", ["", "832", "830x480", "8x8", "axb", "9999x16", 3])
def test_sizes_that_cannot_be(size: object):
    with pytest.raises(SettingsError, match="size cannot be"):
        settings(size=size)
    with pytest.raises(SettingsError, match="cannot have 18 frames"):
        settings(frames=18)


def test_keypoints_lie_on_the_frames_of_a_59_94_video(tmp_path: Path):
    """AIST++ counts frames: after 10 s of such a video its 60 a second are most of a frame ahead."""
    from s2v_core.dataset.clip import ClipJob, keypoints_of
    from s2v_core.video.read import VideoInfo

    (name,) = names(1)
    write_keypoints(tmp_path / f"{name.sequence}.pkl", 900)
    given = settings(size="1920x1088")
    job = ClipJob(make_entry(str(name)), "", "", "", given, SubjectCard(), "", "", keypoints=str(tmp_path))
    rate = Fraction(60000, 1001)
    track = keypoints_of(job, VideoInfo(1920, 1080, rate, Fraction(15), 900, 0, "h264"), Fraction(10))
    frames = np.round([float((10 + Fraction(k, 16)) * rate) for k in range(17)])
    scale = 1088 / 1080
    wanted = 960 + 200 * np.sin(frames / 20) * scale
    assert np.abs(track.points[:, 0, 0, 0] - wanted).max() < 0.02
    assert np.abs(960 + 200 * np.sin((frames + 1) / 20) * scale - wanted).max() > 5, "one frame later is far away"


def test_the_cameras_directions_are_in_the_facts(videos: Path, tmp_path: Path):
    from scipy.spatial.transform import Rotation

    from tests.aist.test_views import setting

    catalog = scan_folder(videos)
    catalog = replace(catalog, entries=catalog.entries[:1])
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras" / "mapping.txt").write_text(f"{catalog.entries[0].sequence} setting1\n")
    (tmp_path / "cameras" / "setting1.json").write_text(json.dumps(setting(Rotation.identity(), np.zeros(3))))
    prepare(catalog, tmp_path / "out", settings(), sources=points_of(videos, cameras=tmp_path / "cameras"))
    facts = read_rows(tmp_path / "out")[0]["facts"]
    assert facts["azimuth"] == 0 and facts["elevation"] == pytest.approx(2.29, abs=0.1)


def test_diffsynth_reads_it(made: Path):
    """The consumer itself, with the columns of its VACE training."""
    from diffsynth.core.data.unified_dataset import UnifiedDataset

    operator = UnifiedDataset.default_video_operator(
        base_path=str(made), height=48, width=64, num_frames=17, frame_rate=16
    )
    dataset = UnifiedDataset(str(made), str(made / "metadata.csv"), 1, COLUMNS[:1] + COLUMNS[2:], operator)
    assert len(dataset) == 3
    row = dataset[0]
    assert [picture.size for picture in row["video"]] == [(64, 48)] * 17 == [p.size for p in row["vace_video"]]
    first, reference = np.asarray(row["video"][0], int), np.asarray(row["vace_reference_image"][0], int)
    assert np.abs(first - reference).mean() < 6 and row["prompt"] == read_rows(made)[0]["prompt"]
