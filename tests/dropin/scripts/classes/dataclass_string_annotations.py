"""Annotations that are strings, read inside a call."""

from __future__ import annotations
import dataclasses, typing
from under_test import Executor


@dataclasses.dataclass
class Node:
    value: int
    next: Node | None = None
    table: typing.ClassVar[dict[str, int]] = {}


def hints(_):
    return {name: str(hint) for name, hint in typing.get_type_hints(Node).items()}


def fields(node):
    return [f.name for f in dataclasses.fields(node)]


def length(node):
    return 1 + (length(node.next) if node.next else 0)


def grow(node):
    return dataclasses.replace(node, next=node)


def derived(_):
    @dataclasses.dataclass
    class More(Node):
        extra: typing.ClassVar[int] = 3

    return [f.name for f in dataclasses.fields(More)]


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(fields, Node(1)).result(), ex.submit(length, Node(1, Node(2))).result())
        print(ex.submit(grow, Node(1)).result(), ex.submit(derived, 1).result())
        print(ex.submit(hints, 1).result())
