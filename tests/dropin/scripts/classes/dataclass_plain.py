"""A dataclass of the script: argument, result, method."""

import dataclasses
from under_test import Executor


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2

    def moved(self, by):
        return Point(self.x + by, self.y)


def move(point, by):
    return point.moved(by)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        back = ex.submit(move, Point(1), 5).result()
        bound = ex.submit(Point(3).moved, 1).result()
    print(
        back,
        back == Point(6),
        isinstance(back, Point),
        type(back) is Point,
        bound == Point(4),
        dataclasses.asdict(back),
    )
