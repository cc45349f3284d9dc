"""The list of the workflows, with what each says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .experiments import (
    CARD,
    GREEN,
    MEDIA,
    MODEL,
    RESULT,
    SWEEP,
    SWEEP_HOW,
    WORDS,
    axes_of,
    axis_of,
    media,
    model,
    note,
    person,
    result,
    run,
    sweep_workflow,
)
from .graph import PREVIEW, Graph
from .needs import REFERENCE, RENDERED, passes, said_time
from .schemas import Schema

STEPS = 50  # as in workflows/sweeps
GUIDANCE = 5.0
GUIDANCES = range(1, 8)
NANO = {"steps": 12, "guidance": 3.0, "seed": 1, "width": 96, "height": 96, "frames": 17}
Maker = Callable[[Mapping[str, Schema]], Graph]


def quick_look(schemas: Mapping[str, Schema]) -> Graph:
    """The nano model and its biased LoRA; needs nothing."""
    graph = Graph("quick_look", schemas)
    note(
        graph,
        "A quick look",
        "**A LoRA learns more than its dance.** Twelve small videos of one drawn dancer: guidance from top to bottom, "
        "the strength of a LoRA from left to right. The LoRA was trained on clips with one white stage and black "
        "trousers. As its strength rises, both leak into the picture; guidance makes the prompt (other trousers, "
        "another wall) hold against it.",
        (),
        "Less than a minute on two cores of a CPU.",
        "Press **Run**. The grid stands in group 5 and in `output/skeleton2video/quick_look`.\n\nChange `number` in "
        "Drawn Dancer for another person and dance. Change the values of a Sweep Axis: only new videos are "
        "computed.\n\nNext: `drawn_dancer` lets this person dance your own clip.",
    )
    graph.group("1  Who dances what", MEDIA)
    dancer = graph.add("DrawnDancer", number=4)
    drawing = graph.add("DrawPose", pose=dancer["pose"], stick="fixed")
    graph.add("PreviewImage", "The pose video", tall=PREVIEW, images=drawing["control video"])
    graph.column()
    graph.add("PreviewImage", "The reference picture", tall=PREVIEW, images=dancer["reference"])
    graph.add("PreviewImage", "As it should be", tall=PREVIEW, images=dancer["as it should be"])
    graph.group("2  Model", MODEL)
    wan = graph.add("LoadNanoWanVace", tall=100)  # the links that pass below it leave the next group's title alone
    axes = axes_of(
        graph,
        ("From top to bottom", "guidance", "1, 3, 6"),
        ("From left to right", "lora_strength", "0, 1, 1.5, 2"),
        title="3  What varies",
    )
    pictures = {"control_video": drawing["control video"], "reference": dancer["reference"]}
    sweep = run(graph, wan, dancer["prompt"], axes, wan["biased LoRA"], title="4  Run", **pictures, **NANO)
    result(graph, sweep, title="5  Result", **pictures)
    return graph


def drawn_dancer(schemas: Mapping[str, Schema]) -> Graph:
    """A real clip's dance by the nano model."""
    graph = Graph("drawn_dancer", schemas)
    note(
        graph,
        "A drawn dancer dances your clip",
        "The whole way once, small: the pose of your own clip is found, put on the body of a drawn person, drawn as a "
        "pose video, and danced. What you learn here of clip and pose holds for the large model too.",
        ("clip", "pose"),
        "Seconds on any machine, once the pose is found (about a second a frame on a CPU, and kept for the next time).",
        f"{GREEN}the clip. Press **Run**. See in **The pose** whether it was found well before you blame the model. "
        "Change `number` in Drawn Dancer for another person.",
    )
    _, pose = media(graph, frames=17, width=480, height=480, fit="letterbox")
    graph.group("2  Who dances", WORDS)
    dancer = graph.add("DrawnDancer", number=4, pose=pose["pose"])
    drawing = graph.add("DrawPose", pose=dancer["pose"], stick="fixed")
    graph.add("PreviewImage", "The reference picture", tall=PREVIEW, images=dancer["reference"])
    graph.column()
    graph.add("PreviewImage", "The pose", tall=PREVIEW, images=drawing["control video"])
    graph.group("3  Model and rendering", SWEEP)
    wan = graph.add("LoadNanoWanVace")
    sampler = graph.add(
        "WanVaceSampler",
        tall=PREVIEW,
        model=wan["model"],
        prompt=dancer["prompt"],
        control_video=drawing["control video"],
        reference=dancer["reference"],
        **{**NANO, "steps": 16},
    )
    graph.group("4  Result", RESULT)
    prefix = "skeleton2video/drawn_dancer"
    graph.add("SaveVideo", "The video", tall=PREVIEW, video=sampler["video"], filename_prefix=prefix, wide=480)
    return graph


def pose_to_video(schemas: Mapping[str, Schema]) -> Graph:
    """One video."""
    graph = Graph("pose_to_video", schemas)
    note(
        graph,
        "Pose to video",
        "One video: the person of your picture dances what the dancer of your clip dances. The pose video steers the "
        "movement, the picture the person, the prompt both.",
        RENDERED,
        said_time(passes(30, GUIDANCE), 1),
        f"{GREEN}the clip, the person's picture, and who is seen. Press **Run**. The pose video is there first: look "
        "whether it has the dancer's steps before you wait for the rest. Previews come while the sampler works.\n\nA "
        "LoRA: choose it in the grey node, select the node and press Ctrl+M.",
    )
    clip, pose = media(graph, report=False)
    video = graph.add("CreateVideo", images=pose["control video"], fps=clip["fps"])
    graph.add("SaveVideo", "The pose video", tall=PREVIEW, video=video["VIDEO"], filename_prefix="skeleton2video/pose")
    picture, words = person(graph, clip)
    wan, loras = model(graph, lora=True, off=True)
    graph.group("4  Render", SWEEP)
    sampler = graph.add(
        "WanVaceSampler",
        tall=PREVIEW,
        model=wan["model"],
        prompt=words["prompt"],
        control_video=pose["control video"],
        reference=picture["IMAGE"],
        loras=loras,
    )
    graph.group("5  Result", RESULT)
    graph.add("PreviewAny", "What was fitted or cut", tall=100, source=sampler["notes"], wide=640)
    prefix = "skeleton2video/video"
    graph.add("SaveVideo", "The video", tall=PREVIEW, video=sampler["video"], filename_prefix=prefix, wide=640)
    return graph


def dataset_preparation(schemas: Mapping[str, Schema]) -> Graph:
    """Clips, pose videos, first frames and prompts out of a folder."""
    graph = Graph("dataset_preparation", schemas)
    folder = "skeleton2video/dataset"
    note(
        graph,
        "Dataset preparation",
        "Chosen clips of a folder become what a VACE LoRA is trained on: 81 frames at 16 a second, the pose video, the "
        "first frame as reference, and a prompt from the facts of the file name. Everything runs once for each clip.",
        ("folder", "pose", "captions"),
        "About as long as the pose takes: one clip of 81 frames in 1 to 2 minutes on a CPU, in seconds on a GPU.",
        f"{GREEN}folder and filters, and how many clips (`count`, up to 16). Press **Run**; files go to "
        f"`output/{folder}`.\n\nThe caption node is muted: select it and press Ctrl+M to describe the dancer of the "
        "first frame.\n\nFor hundreds of clips, with `metadata.csv` for the training and a page to check them, use the "
        "command `s2v aist prepare CLIPS --out DATASET` (docs/dataset.md).",
    )
    graph.group("1  Choose clips", MEDIA)
    clips = graph.add("AistDataset", yours=True, index=0, count=4, frames=81)
    graph.add("PreviewAny", "What was chosen", tall=120, source=clips["report"])
    graph.add("PreviewAny", "Facts of the names", tall=120, source=clips["facts"])
    graph.group("2  Pose", WORDS)
    pose = graph.add("ExtractPose", frames=clips["frames"], fps=clips["rate"])
    edited = graph.add("EditPose", pose=pose["pose"])
    drawing = graph.add("DrawPose", pose=edited["pose"])
    graph.add("PreviewAny", "What was found", tall=120, source=pose["report"])
    graph.group("3  First frame and words", MODEL)
    first = graph.add("ImageFromBatch", "The first frame", image=clips["frames"], batch_index=0, length=1)
    caption = graph.add("CaptionFrame", off=True, image=first["IMAGE"])
    words = graph.add("BuildDancePrompt", clip_name=clips["clip names"], caption=caption["caption"])
    graph.add("PreviewAny", "The prompts, to read", tall=160, source=words["text"])
    graph.group("4  Save", RESULT)
    video = graph.add("CreateVideo", "Clip", images=clips["frames"], fps=clips["rate"])
    graph.add("SaveVideo", "The clips", tall=PREVIEW, video=video["VIDEO"], filename_prefix=f"{folder}/clip")
    graph.column()
    video = graph.add("CreateVideo", "Pose", images=drawing["control video"], fps=drawing["fps"])
    graph.add("SaveVideo", "The pose videos", tall=PREVIEW, video=video["VIDEO"], filename_prefix=f"{folder}/pose")
    graph.column()
    graph.add("SaveImage", "The references", tall=200, images=first["IMAGE"], filename_prefix=f"{folder}/reference")
    return graph


def _prompt_sweep(name: str, title: str, lora: bool) -> Maker:
    def make(schemas: Mapping[str, Schema]) -> Graph:
        graph = Graph(name, schemas)
        whom = "with your LoRA at strength 1" if lora else "with the pretrained model"
        note(
            graph,
            title,
            f"Three prompts that say the same facts, {whom}: an even description, weight on light and quality, weight "
            "on the person staying the same. Everything else is equal, so what differs is the words' doing.",
            (*RENDERED, "lora") if lora else RENDERED,
            said_time(3 * passes(STEPS, GUIDANCE), 3),
            f"{GREEN}the clip, the person's picture, and who is seen{', and your LoRA' if lora else ''}. "
            + SWEEP_HOW.format(name=name)
            + "\n\nFor prompts of your own put a Sweep Axis with the axis `prompt` in place of Prompt Variants: one "
            "prompt "
            "a line, `[name]` in front.",
        )
        clip, pose = media(graph)
        graph.group("2  Person and words", WORDS)
        picture = graph.add("LoadImage", "The person who dances", yours=True, tall=PREVIEW, image=REFERENCE)
        card = graph.add("SubjectCard", "Who is seen", yours=True, **CARD)
        words = graph.add(
            "BuildDancePrompt", "The prompt where none varies", clip_name=clip["clip name"], card=card["card"]
        )
        wan, loras = model(graph, lora)
        graph.group("4  What varies", SWEEP, below=True)
        variants = graph.add(
            "PromptVariants", variants="detailed, lighting, identity", clip_name=clip["clip name"], card=card["card"]
        )
        graph.add("PreviewAny", "The prompts, to read", tall=140, source=variants["texts"])
        pictures = {"control_video": pose["control video"], "reference": picture["IMAGE"]}
        sweep = run(graph, wan, words["prompt"], variants["axes"], loras, **pictures, steps=STEPS, guidance=GUIDANCE)
        result(graph, sweep, **pictures)
        return graph

    return make


def _guidance(name: str, title: str, lora: bool) -> Maker:
    whom = "your LoRA at strength 1" if lora else "the pretrained model"
    return sweep_workflow(
        name,
        title,
        f"Guidance 1 to 7 with {whom}, everything else equal. 1 asks the prompt alone; above it the video is driven "
        "away from the negative prompt, which sharpens what the words say and in the end burns colours and stiffens "
        "the dance.",
        (("Guidance", "guidance", axis_of("guidance", "guidance")),),
        sum(passes(STEPS, guidance) for guidance in GUIDANCES),
        len(GUIDANCES),
        lora,
        steps=STEPS,
    )


def _steps(name: str, title: str, lora: bool) -> Maker:
    whom = "your LoRA at strength 1" if lora else "the pretrained model"
    return sweep_workflow(
        name,
        title,
        f"10 to 50 steps with {whom}, everything else equal. Where do more steps stop being worth their time?",
        (("Steps", "steps", axis_of("steps", "steps")),),
        sum(passes(steps, GUIDANCE) for steps in range(10, 51, 10)),
        5,
        lora,
        guidance=GUIDANCE,
    )


def inference_rescue(schemas: Mapping[str, Schema]) -> Graph:
    """LoRA strength by guidance, scored."""
    graph = Graph("inference_rescue", schemas)
    strengths, guidances = (0.25, 0.5, 0.75, 1), (1, 3, 5, 7)
    count = len(strengths) * sum(passes(30, guidance) for guidance in guidances)
    note(
        graph,
        "Inference rescue",
        "A LoRA that leaks its training clips into the picture can often be saved without training it again. A lower "
        "strength keeps the person, guidance makes the prompt hold against the LoRA. Strength from top to bottom, "
        "guidance from left to right: which cell still has the dance and already has your person?",
        (*RENDERED, "lora"),
        said_time(count, len(strengths) * len(guidances)),
        f"{GREEN}the clip, the person's picture, who is seen, and your LoRA. {SWEEP_HOW.format(name=graph.name)}\n\n"
        "Below each cell stand its scores: the share of the pose's points that are right (higher is better) and how "
        "far the clothes' colours are from your picture's (lower is better; the best is marked). For `leakage` put "
        "clips of the LoRA's training set into a folder below `input`, name it in `training`, and add the word to "
        "`metrics`.\n\n**Pick Cell** saves the best one with its settings.",
    )
    clip, pose = media(graph)
    picture, words = person(graph, clip)
    wan, loras = model(graph, lora=True)
    axes = axes_of(
        graph,
        ("Strength", "lora_strength", ", ".join(map(str, strengths))),
        ("Guidance", "guidance", ", ".join(map(str, guidances))),
    )
    pictures = {"control_video": pose["control video"], "reference": picture["IMAGE"]}
    sweep = run(graph, wan, words["prompt"], axes, loras, **pictures, steps=30)
    graph.group("6  Scores", MODEL)
    metrics = "pose_pck, identity_clothes, motion, flicker"
    scored = graph.add("ScoreSweep", sweep=sweep["sweep"], metrics=metrics, **pictures)
    graph.add("PreviewAny", "What was measured", tall=100, source=scored["summary"])
    graph.add("PreviewAny", "What it says of the article's claims", tall=100, source=scored["claims"])
    result(graph, scored, title="7  Result", best="identity_clothes", **pictures)
    graph.column()
    best = graph.add(
        "PickCell", "The best cell", tall=PREVIEW, sweep=scored["sweep"], by="best", metric="identity_clothes"
    )
    graph.column()
    graph.add("PreviewAny", "Its settings", tall=100, source=best["settings"])
    if "Skeleton2Video_SweepReport" in schemas:
        graph.add("SweepReport", "The sweep as a page", tall=40, sweep=scored["sweep"], **pictures)
    return graph


MAKERS: tuple[Maker, ...] = (
    quick_look,
    drawn_dancer,
    dataset_preparation,
    pose_to_video,
    _guidance("guidance_sweep", "Guidance sweep, pretrained model", lora=False),
    _steps("steps_sweep", "Steps sweep, pretrained model", lora=False),
    _prompt_sweep("prompt_sweep", "Prompt sweep, pretrained model", lora=False),
    _guidance("lora_guidance_sweep", "Guidance sweep with a LoRA", lora=True),
    _steps("lora_steps_sweep", "Steps sweep with a LoRA", lora=True),
    _prompt_sweep("lora_prompt_sweep", "Prompt sweep with a LoRA", lora=True),
    sweep_workflow(
        "lora_strength_sweep",
        "LoRA strength sweep",
        "Your LoRA at strengths from 0 to 1, everything else equal. 0 is the base model, bit for bit: how much of the "
        "LoRA does the dance need, and from where on does it bring its own clothes, faces and stage?",
        (("Strength", "lora_strength", axis_of("lora_strength", "lora_strength")),),
        5 * passes(STEPS, GUIDANCE),
        5,
        lora=True,
        steps=STEPS,
        guidance=GUIDANCE,
    ),
    sweep_workflow(
        "base_against_lora",
        "Base model against LoRA",
        "The base model above, the same with your LoRA below, with three seeds from left to right: what differs "
        "between the rows in every column is the LoRA's doing, not chance.",
        (("Base or LoRA", "lora_on", "base, lora"), ("Seeds", "seed", "0, 1, 2")),
        6 * passes(STEPS, GUIDANCE),
        6,
        lora=True,
        steps=STEPS,
        guidance=GUIDANCE,
    ),
    inference_rescue,
)


def all_workflows(schemas: Mapping[str, Schema]) -> dict[str, Graph]:
    """Every workflow by its file's name."""
    graphs = {}
    for make in MAKERS:
        graph = make(schemas)
        graph.lay_out()
        graphs[graph.name] = graph
    return graphs
