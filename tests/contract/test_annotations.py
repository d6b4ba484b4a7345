"""Annotations of a program's own functions and classes travel with them.

Since Python 3.14 they are evaluated when somebody asks for them, and names that are not known
(yet) raise NameError or become a ``ForwardRef``.  Before, such a program imports
``annotations`` from ``__future__``, and this file shows that the same holds there.
"""

from __future__ import annotations

import sys

import pytest
from conftest import Ground

_FUTURE = "" if sys.version_info >= (3, 14) else "from __future__ import annotations\n"

_PROGRAM = """
import dataclasses, enum, functools, sys, threading, typing
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict
from clusterfutures import submit

if TYPE_CHECKING:
    from nowhere import Thing

lock = threading.Lock()  # what refers to all of __main__ cannot travel

@dataclasses.dataclass
class Node:
    value: int
    next: Node | None = None

@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    inner: list[Frozen] | None = None

@dataclasses.dataclass
class Typed:
    thing: Thing
    others: list[Thing] | None = None
    shared: typing.ClassVar[Thing] = None
    def method(self, x: Thing) -> Thing:
        return self.thing + x

class Plain:
    thing: Thing
    number: int
    def __init__(self, x: Thing | None = None) -> None:
        self.x = x
    @property
    def prop(self) -> Thing:
        return self.x
    @classmethod
    def made(cls, x: Thing) -> Plain:
        return cls(x)
    @staticmethod
    def static(x: Thing) -> list[Thing]:
        return [x]

class Pair(NamedTuple):
    number: int
    next: Pair | None = None

class Dictionary(TypedDict):
    inner: Dictionary
    thing: Thing

class Protocolled(Protocol):
    def method(self) -> Thing: ...

class Colour(enum.Enum):
    RED = 1
    def of(self, thing: Thing) -> Colour:
        return self

def total(node: Node) -> int:
    return node.value + (total(node.next) if node.next else 0)

def typed(a: Thing, *, b: Thing | None = None) -> list[Thing]:
    return [a, b]

@functools.wraps(typed)
def wrapped(*args: Thing, **kwargs: Thing):
    return typed(*args, **kwargs)

def make(value: int) -> Node:
    return Node(value, Node(1))

def names(obj: object) -> list[str]:
    if sys.version_info < (3, 14):
        return sorted(obj.__annotations__)
    import annotationlib
    return sorted(annotationlib.get_annotations(obj, format=annotationlib.Format.FORWARDREF))

def local():
    class Local:
        mine: Local
        thing: Thing
    def function(a: Local, b: Thing) -> Local:
        return type(a).__name__
    return Local, function

def on_the_node():
    @dataclasses.dataclass
    class There:
        next: There | None = None
        thing: Thing = 3
    def function(x: Thing) -> There:
        return There(None, x)
    return There(There()), function

def main():
    Local, function = local()
    with executor(max_workers=1) as ex:
        def call(function, *args, **kwargs):
            return ex.submit(function, *args, **kwargs).result(60)
        assert call(total, Node(1, Node(2))) == 3
        assert list(ex.map(total, [Node(1, Node(2)), Node(3)])) == [3, 3]
        assert call(make, 4) == Node(4, Node(1)) and type(call(make, 4)) is Node
        assert call(lambda x: x.inner, Frozen([Frozen()])) == [Frozen()]
        assert call(typed, 1, b=2) == [1, 2] == call(wrapped, 1, b=2) == call(functools.partial(typed, 1), b=2)
        assert call(Typed(1).method, 2) == 3 and call(lambda: Typed(1)) == Typed(1)
        assert call(lambda: Plain.made(5).prop) == 5 and call(Plain.static, 6) == [6] and call(Plain.made, 7).x == 7
        assert call(lambda: Pair(1, Pair(2))) == Pair(1, Pair(2))
        assert call(lambda: Dictionary(thing=1)) == {"thing": 1}
        assert call(lambda: Protocolled.__name__) == "Protocolled"
        assert call(Colour.RED.of, 1) is Colour.RED
        assert call(function, Local(), 1) == "Local"
        there, function = call(on_the_node)
        assert there.next.thing == 3 and function(4).thing == 4
        for kind, expected in {
            Node: ["next", "value"], Frozen: ["inner"], Typed: ["others", "shared", "thing"], Pair: ["next", "number"],
            Plain: ["number", "thing"], Dictionary: ["inner", "thing"], Local: ["mine", "thing"],
            typed: ["a", "b", "return"], total: ["node", "return"], Plain.static: ["return", "x"],
            Node.__init__: ["next", "return", "value"],
        }.items():
            assert names(kind) == call(names, kind) == expected, (kind, call(names, kind))
        field = dataclasses.fields(Node)[1]
        assert call(lambda field: "Node | None" in str(field.type), field)
        assert call(lambda: [field.name for field in dataclasses.fields(Typed)]) == ["thing", "others"]
    assert submit(total, [Node(1, Node(2))], scheduler="local").get(60) == 3
    assert submit(make, [4], scheduler="local").get(60) == Node(4, Node(1))
    print("all is well")

if __name__ == "__main__":
    main()
"""

_CHILD = """
import multiprocessing, sys, dataclasses

@dataclasses.dataclass
class Point:
    x: int

def scale(point):
    return Point(point.x * 2)

def child(queue):
    with executor(max_workers=1) as ex:
        result = ex.submit(scale, Point(2)).result(60)
        queue.put((result == Point(4), type(result) is Point, list(ex.map(scale, [Point(3)])) == [Point(6)]))

if __name__ == "__main__":
    for method in sys.argv[1:]:
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=child, args=[queue])
        process.start()
        process.join(90)
        print(method, process.exitcode, queue.get(timeout=60) if process.exitcode == 0 else "")
"""


@pytest.mark.on("local")
def test_a_program_with_annotations_of_every_kind(ground: Ground) -> None:
    program = ground.script(_PROGRAM, future=_FUTURE)
    assert program.said == "all is well\n"  # type: ignore[attr-defined]


@pytest.mark.on("local")
def test_an_executor_in_a_child_process(ground: Ground) -> None:
    """There the program is called ``__mp_main__``, but for fork (forkserver is what Python 3.14 uses)."""
    program = ground.script(_CHILD, "fork", "spawn", "forkserver")
    expected = [f"{method} 0 (True, True, True)" for method in ("fork", "spawn", "forkserver")]
    assert program.said.splitlines() == expected, program.complaint  # type: ignore[attr-defined]
