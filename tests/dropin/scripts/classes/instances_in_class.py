"""Classes that hold instances of themselves: singletons, caches of instances, null objects, named constants."""

import dataclasses
from under_test import Executor


class Settings:
    _instance = None

    def __new__(cls, *arguments):
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __init__(self, *arguments):
        self.times = getattr(self, "times", 0) + 1


class Unit:
    known = {}

    def __new__(cls, name):
        if name not in cls.known:
            cls.known[name] = made = super().__new__(cls)
            made.name = name
        return cls.known[name]

    def __getnewargs__(self):
        return (self.name,)


class Null:
    __slots__ = ("label", "__dict__")

    def __new__(cls):
        raise TypeError("there is one: NULL")

    def __reduce__(self):
        return "NULL"


Null.only = NULL = object.__new__(Null)
NULL.label, NULL.more = "null", "too"


class Node:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Node) and self.value == other.value

    def __hash__(self):
        return hash(self.value)


Node.nil = Node(0)
Node.all = {Node.nil: "nil", Node(2): Node.nil}


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


Point.ORIGIN = Point(0)


class Degrees(float):
    def __new__(cls, value, unit="C"):
        made = super().__new__(cls, value)
        made.unit = unit
        return made

    def __getnewargs__(self):
        return float(self), self.unit


Degrees.BOILS = Degrees(100, unit="C")


class Left:
    def __new__(cls):
        assert cls.other, "made before the class is whole"
        return super().__new__(cls)


class Right:
    def __new__(cls):
        assert cls.other, "made before the class is whole"
        return super().__new__(cls)


Left.other = Right.other = 1
Left.other, Right.other = Right(), Left()

settings = Settings()
Unit("m"), Unit("s")


def singleton(given):
    return Settings() is Settings(), Settings() is settings, given is Settings(), Settings().times


def cached(given):
    return Unit("m") is Unit("m"), sorted(Unit.known), given is Unit("m"), Unit.known["s"].name


def null(given):
    return Null.only is NULL, given is NULL, NULL.label, NULL.more


def node(given):
    return Node.nil is Node.all[Node(2)], given == Node.nil, Node.all[given], len(Node.all)


def point(given):
    return Point.ORIGIN, given == Point.ORIGIN


def degrees(given):
    return Degrees.BOILS, Degrees.BOILS.unit, given.unit


def mutual(given):
    return type(Left.other).__name__, type(Right.other).__name__, type(given.other).__name__


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        for function, given in [
            (singleton, settings), (cached, Unit("m")), (null, NULL), (node, Node(0)), (point, Point(0)),
            (degrees, Degrees(3, "F")), (mutual, Left()),
        ]:  # fmt: skip
            print(function.__name__, ex.submit(function, given).result())
        print(ex.submit(Settings).result() is settings, ex.submit(Unit, "m").result() is Unit("m"))
        print(ex.submit(getattr, Null, "only").result() is NULL, ex.submit(getattr, Point, "ORIGIN").result())
