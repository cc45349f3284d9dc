"""The nodes that load dance clips, inside a host's own interpreter."""

from __future__ import annotations

from typing import Any

# Clips of one colour a camera, in a folder of the host's input.
FILL = """
import numpy as np
from fractions import Fraction
from pathlib import Path
core = "my pack-1_x_0.s2v_core."
Clip = sys.modules[core + "video.clip"].Clip
write_clip = importlib.import_module(core + "video.write").write_clip
folder = Path(BASE) / "input" / "dances"
for level, name in enumerate(["gBR_sBM_c01_d04_mBR0_ch01", "gBR_sBM_c02_d04_mBR0_ch01", "gPO_sFM_c01_d10_mPO3_ch05",
                              "holiday"]):
    if not (folder / f"{name}.mp4").exists():
        write_clip(Clip(np.full((8, 32, 32, 3), 40 * level + 20, np.uint8), Fraction(16)), folder / f"{name}.mp4")
base = dict(folder="dances", genre="", situation="", dancer="", music="", choreography="", camera="all", seed=0,
            index=0, count=1, size="32x32", frames=5, fps=16.0, fit="crop", trim="middle", offset=0.0, short="error",
            any_name=False)
def problem(function, *given, **named):
    try:
        function(*given, **named)
        return ""
    except Exception as error:
        return str(error)
def levels(images):
    return [round(float(image.mean()) * 255 / 40 - 0.5) for image in images]
"""


def test_another_camera_of_the_same_dance(in_host: Any) -> None:
    said = in_host(
        FILL
        + """
load = named("LoadAistClip").execute
given = ("dances/gBR_sBM_c01_d04_mBR0_ch01.mp4", 16, 5, 32, 32, "crop", 0.0, "error")
old, second = load(*given).args, load(*given, "c02").args
drawn = [load(*given, "random", seed).args[7] for seed in range(6)]
stamps = {named("LoadAistClip").fingerprint_inputs(video=given[0], camera=camera) for camera in ("as chosen", "c02")}
other = load("dances/holiday.mp4", *given[1:]).args
print(json.dumps({
    "old": [levels([old[0]]), *map(str, old[4:])], "second": [levels([second[0]]), str(second[2]), second[7]],
    "again": drawn == [load(*given, "random", seed).args[7] for seed in range(6)], "drawn": drawn,
    "missing": problem(load, *given, "c05"), "stamps": len(stamps), "other": other[5:],
    "nameless": problem(load, "dances/holiday.mp4", *given[1:], "random")}))
"""
    )
    assert said["old"][0] == [0] and said["old"][2:] == ["gBR", "sBM", "c01", "d04", "mBR0", "ch01", "80.0", "None"]
    assert said["second"] == [[1], "gBR_sBM_c02_d04_mBR0_ch01", "c02"]
    assert said["again"] and set(said["drawn"]) == {"c01", "c02"} and said["stamps"] == 2
    assert "no view of gBR_sBM_cAll_d04_mBR0_ch01 from c05" in said["missing"] and "c01, c02" in said["missing"]
    assert "no valid genre" in said["nameless"] and said["other"] == ["", "", "", "", "", "", 0.0, None]


def test_a_dataset_is_chosen_and_read_as_lists(in_host: Any) -> None:
    said = in_host(
        FILL
        + """
node = named("AistDataset")
run = lambda **more: node.execute(**{**base, **more}).args
whole = run(count=3)
drawn = [run(index=-1, camera="random", seed=seed)[2] for seed in range(5)]
print(json.dumps({
    "lists": [out.is_output_list for out in node.define_schema().outputs],
    "levels": levels(whole[0]), "names": [str(name) for name in whole[1]], "files": whole[2], "facts": whole[3][2],
    "rest": whole[4:], "genre": run(genre="pop")[2], "one": run(index=1)[2],
    "drawn": drawn, "again": drawn == [run(index=-1, camera="random", seed=seed)[2] for seed in range(5)],
    "any": run(any_name=True, count=4)[2], "beat": levels(run(trim="beat")[0]),
    "stamp": node.fingerprint_inputs(**base) != node.fingerprint_inputs(**{**base, "index": 1}),
    "problems": [problem(run, genre="gXX"), problem(run, index=9), problem(run, folder=".."), problem(run, folder="no"),
                 problem(run, frames=9), problem(run, frames=6)],
}))
"""
    )
    assert said["lists"] == [True, True, True, True, False, False, False]
    assert said["levels"] == [0, 1, 2] and said["names"][2] == "gPO_sFM_c01_d10_mPO3_ch05"
    assert said["files"][1] == "gBR_sBM_c02_d04_mBR0_ch01.mp4" and "tempo: 110 BPM" in said["facts"]
    assert said["rest"][:2] == [16.0, 3] and "not taken: holiday.mp4" in said["rest"][2]
    assert said["genre"] == ["gPO_sFM_c01_d10_mPO3_ch05.mp4"] and said["one"] == ["gBR_sBM_c02_d04_mBR0_ch01.mp4"]
    assert said["again"] and len(set(map(tuple, said["drawn"]))) > 1 and "holiday.mp4" in said["any"]
    assert said["beat"] == [0] and said["stamp"]
    texts = [
        "No clip has the genre gXX",
        "not so many clips",
        "no folder '..'",
        "no folder 'no'",
        "too short",
        "4n + 1",
    ]
    assert all(text in problem for text, problem in zip(texts, said["problems"], strict=True)), said["problems"]
