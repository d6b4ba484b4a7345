"""match on the script's classes, __match_args__, __class_getitem__, __init__ with positional-only."""

from under_test import Executor


class Point:
    __match_args__ = ("x", "y")

    def __init__(self, x, y, /):
        self.x = x
        self.y = y

    def __class_getitem__(cls, item):
        return f"Point[{item}]"


def where(thing):
    match thing:
        case Point(0, 0):
            return "origin"
        case Point(x, 0):
            return f"x={x}"
        case {"point": Point(y=y)}:
            return f"y={y}"
        case [Point(), *rest]:
            return len(rest)
        case _:
            return "else"


def item(n):
    return Point[n]


if __name__ == "__main__":
    with Executor(max_workers=2) as ex:
        print(
            list(ex.map(where, [Point(0, 0), Point(3, 0), {"point": Point(1, 2)}, [Point(1, 1), 2], 5])),
            ex.submit(item, 3).result(),
        )
