"""A graph out of a description: nodes in columns, columns in groups, groups from left to right.

Drawn, as the browser opens it, and in API form, as the server runs it.
"""

from __future__ import annotations

import math
import textwrap
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .schemas import Schema

VERSION = 0.4  # of the file format
WIDTH = 340
NOTE_WIDTH = 440
GAP = 40  # between columns, and between nodes in one
TITLE = 30  # of a node, above its place
GROUP_TITLE = 50
PADDING = 24
SLOT, WIDGET, LINE = 20, 24, 18
PREVIEW = 220
MOST_LINES = 4  # of a text field; more is scrolled
# Nodes that show something below their fields: at the end of a column they take the room that is left. One
# that shows a video grows with it, so it stands nowhere else.
STRETCH = {"LoadImage", "PreviewImage", "PreviewAny", "SaveImage", "SaveVideo"}
STRETCH |= {f"Skeleton2Video_{name}" for name in ("LoadAistClip", "SweepGrid", "PickCell")}
YOURS = ("#232", "#353")  # what the user must set
NOTE = ("#432", "#653")
SPACE = uuid.UUID("6b0f3c1e-2f6e-4b55-9a5e-2d2f6e6a7b11")


@dataclass(frozen=True)
class Link:
    """An output of a node, for another node's input."""

    node: Node
    output: str


@dataclass(eq=False)
class Node:
    """A node and what its inputs get: values, or links. ``tall``: pixels more than its slots and fields need."""

    schema: Schema
    values: dict[str, Any]
    title: str = ""
    yours: bool = False
    off: bool = False
    tall: int = 0
    models: tuple[Mapping[str, str], ...] = ()
    id: int = 0
    x: int = 0
    y: int = 0
    width: int = WIDTH

    def __getitem__(self, output: str) -> Link:
        self.schema.output(output)
        return Link(self, output)

    @property
    def height(self) -> int:
        """As the browser needs it, or a little more."""
        sockets = sum(not field.is_widget for field in self.schema.fields)
        height = max(sockets, len(self.schema.outputs), 1) * SLOT + 14 + self.tall
        for entry, more in self.schema.widgets:
            height += WIDGET * (1 + len(more) + entry.upload)
            if entry.multiline:
                text = str(self.values.get(entry.name, entry.default or ""))
                height += min(max(2, _lines(text, self.width)), MOST_LINES) * LINE if self.schema.category else 0
        return 10 * math.ceil(height / 10)


@dataclass
class Group:
    """A titled box around columns of nodes."""

    title: str
    color: str
    columns: list[list[Node]] = field(default_factory=lambda: [[]])
    box: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def height(self) -> int:
        """As its longest column needs it."""
        return GROUP_TITLE + TITLE + max(map(_column_height, self.columns)) + PADDING

    def place(self, left: int, top: int, height: int) -> int:
        """Put the group and its nodes there; gives its right edge. Pictures at a column's end take what is left."""
        x = left + PADDING
        inside = height - (GROUP_TITLE + TITLE + PADDING)
        for column in self.columns:
            if column[-1].schema.type in STRETCH:
                column[-1].tall += inside - _column_height(column)
            y = top + GROUP_TITLE + TITLE
            for node in column:
                node.x, node.y = x, y
                y += node.height + TITLE + GAP
            x += max(node.width for node in column) + GAP
        right = x - GAP + PADDING
        self.box = (left, top, right - left, height)
        return right


class Graph:
    """A workflow. ``schemas``: the nodes' forms."""

    def __init__(self, name: str, schemas: Mapping[str, Schema]) -> None:
        self.name = name
        self.schemas = schemas
        self.bands: list[list[Group]] = []
        self.placed = False
        self.notes: list[Node] = []
        self.shows = self.needs = ""  # in a sentence, and in a few words

    @property
    def groups(self) -> list[Group]:
        """From left to right, and from top to bottom."""
        return [group for band in self.bands for group in band]

    @property
    def nodes(self) -> list[Node]:
        """All of them, notes first, then in the order of the groups."""
        return [*self.notes, *(node for group in self.groups for column in group.columns for node in column)]

    def note(self, title: str, text: str) -> None:
        """The note with which the workflow opens, at its left."""
        self.notes.append(Node(self.schemas["MarkdownNote"], {"": text}, title, width=NOTE_WIDTH))

    def group(self, title: str, color: str = "#3f789e", below: bool = False) -> None:
        """What is added from now on stands in a new group, beside the last one or below it."""
        if not below:
            self.bands.append([])
        self.bands[-1].append(Group(title, color))

    def column(self) -> None:
        """What is added from now on stands in a new column of the group."""
        self.bands[-1][-1].columns.append([])

    def add(self, type: str, title: str = "", *, yours: bool = False, off: bool = False, tall: int = 0,
            models: tuple[Mapping[str, str], ...] = (), wide: int = WIDTH, **values: Any) -> Node:  # fmt: skip
        """A node below the last one. ``values``: of its inputs; links are outputs of other nodes.

        ``yours``: the user has to set it. ``off``: muted. The pack's own nodes are called without their prefix.
        """
        schema = self.schemas.get(type) or self.schemas[f"Skeleton2Video_{type}"]
        for name, value in values.items():
            entry = schema.field(name)
            if isinstance(value, Link):
                _check_link(schema, name, entry.type, value)
            elif entry.choices and value not in entry.choices:
                raise ValueError(f"{self.name}: {schema.type}.{name} has no choice {value!r}")
        node = Node(schema, values, title, yours, off, tall, models, width=wide)
        self.bands[-1][-1].columns[-1].append(node)
        return node

    def lay_out(self) -> None:
        """Give every node its number, and all of them and the groups their places."""
        for number, node in enumerate(self.nodes, start=1):
            node.id = number
        if self.placed:
            return
        self.placed = True
        for band in self.bands:
            _align(band)
        whole = max(sum(group.height for group in band) + (len(band) - 1) * GAP for band in self.bands)
        for note in self.notes:
            note.x, note.y = 0, TITLE
            note.tall = max(0, whole - TITLE - note.height)
        left = NOTE_WIDTH + GAP
        for band in self.bands:
            top, right = 0, left
            for group in band:
                height = whole - top if group is band[-1] else group.height
                right = max(right, group.place(left, top, height))
                top += height + GAP
            for group in band:
                group.box = (left, group.box[1], right - left, group.box[3])
            left = right + GAP

    def drawn(self) -> dict[str, Any]:
        """The form that the browser opens."""
        self.lay_out()
        links: list[list[Any]] = []
        for node in self.nodes:
            for place, name in enumerate(_sockets(node)):
                if isinstance(link := node.values.get(name), Link):
                    number = link.node.schema.output(link.output)
                    kind = link.node.schema.outputs[number].type
                    links.append([len(links) + 1, link.node.id, number, node.id, place, kind])
        return {
            "id": str(uuid.uuid5(SPACE, self.name)),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(links),
            "nodes": [_drawn(node, order, links) for order, node in enumerate(self.nodes)],
            "links": links,
            "groups": [
                {"id": number, "title": group.title, "bounding": list(group.box), "color": group.color, "font_size": 24,
                 "flags": {}}
                for number, group in enumerate(self.groups, start=1)
            ],
            "config": {},
            "extra": {"ds": {"scale": 0.75, "offset": [140, 130]}},
            "version": VERSION,
        }  # fmt: skip

    def api(self) -> dict[str, Any]:
        """The form that the server runs, with every field's value; muted nodes and what hangs on them are left out."""
        self.lay_out()
        prompt: dict[str, Any] = {}
        for node in self.nodes:
            if node.off or node.schema.type == "MarkdownNote":
                continue
            inputs: dict[str, Any] = {}
            for entry in node.schema.fields:
                value = node.values.get(entry.name, entry.default if entry.is_widget else None)
                if isinstance(value, Link):
                    if not value.node.off:
                        inputs[entry.name] = [str(value.node.id), value.node.schema.output(value.output)]
                elif entry.is_widget:
                    inputs[entry.name] = value
            title = node.title or node.schema.title
            prompt[str(node.id)] = {"class_type": node.schema.type, "inputs": inputs, "_meta": {"title": title}}
        return prompt


def _lines(text: str, width: int) -> int:
    """Lines that a text takes in a field of a node so many pixels wide."""
    across = (width - 40) // 7
    return sum(max(1, len(textwrap.wrap(line, across))) for line in text.splitlines() or [""])


def _align(band: list[Group]) -> None:
    """Give nodes that stand above each other the same width, also across groups that have one column."""
    columns = [column for group in band for column in group.columns]
    if len(columns) == len(band):
        columns = [[node for column in columns for node in column]]
    for column in columns:
        wide = max(node.width for node in column)
        for node in column:
            node.width = wide


def _column_height(column: list[Node]) -> int:
    return sum(node.height for node in column) + (len(column) - 1) * (TITLE + GAP)


def _sockets(node: Node) -> list[str]:
    """The inputs that a saved node lists: its sockets, and the fields that hang on a link."""
    sockets = [entry.name for entry in node.schema.fields if not entry.is_widget]
    linked = [e.name for e in node.schema.fields if e.is_widget and isinstance(node.values.get(e.name), Link)]
    return [*sockets, *linked]


def _drawn(node: Node, order: int, links: list[list[Any]]) -> dict[str, Any]:
    schema = node.schema
    inputs = []
    for place, name in enumerate(_sockets(node)):
        entry = schema.field(name)
        number = next((link[0] for link in links if link[3] == node.id and link[4] == place), None)
        slot: dict[str, Any] = {"name": name, "type": entry.type, "link": number}
        if entry.optional and not entry.is_widget:
            slot["shape"] = 7
        if entry.is_widget:
            slot["widget"] = {"name": name}
        inputs.append(slot)
    outputs = []
    for place, output in enumerate(schema.outputs):
        numbers = [link[0] for link in links if link[1] == node.id and link[2] == place]
        outputs.append({"name": output.name, "type": output.type, "links": numbers or None})
    values: list[Any] = []
    for entry, more in schema.widgets:
        value = node.values.get(entry.name, entry.default)
        values += [entry.default if isinstance(value, Link) else value, *more]
    properties: dict[str, Any] = {"Node name for S&R": schema.type}
    if schema.category:
        properties["cnr_id"] = "skeleton2video"
    if node.models:
        properties["models"] = [dict(model) for model in node.models]
    said = {
        "id": node.id,
        "type": schema.type,
        "pos": [node.x, node.y],
        "size": [node.width, node.height],
        "flags": {},
        "order": order,
        "mode": 2 if node.off else 0,
        "inputs": inputs,
        "outputs": outputs,
        "properties": properties if schema.type != "MarkdownNote" else {},
        "widgets_values": values,
    }
    if node.title:
        said["title"] = node.title
    if color := NOTE if schema.type == "MarkdownNote" else YOURS if node.yours else None:
        said["color"], said["bgcolor"] = color
    return said


def _check_link(schema: Schema, name: str, wanted: str, link: Link) -> None:
    kind = link.node.schema.outputs[link.node.schema.output(link.output)].type
    if wanted not in ("*", kind):
        raise ValueError(f"{schema.type}.{name} takes {wanted}, not {kind} of {link.node.schema.type}.{link.output}")
