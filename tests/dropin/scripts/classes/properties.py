"""Properties, descriptors, cached properties, total ordering, operators."""

import functools
from under_test import Executor


@functools.total_ordering
class Version:
    def __init__(self, text):
        self.text = text

    @property
    def parts(self):
        return tuple(map(int, self.text.split(".")))

    @parts.setter
    def parts(self, value):
        self.text = ".".join(map(str, value))

    @functools.cached_property
    def major(self):
        return self.parts[0]

    def __eq__(self, other):
        return self.parts == other.parts

    def __lt__(self, other):
        return self.parts < other.parts

    def __hash__(self):
        return hash(self.parts)

    def __add__(self, n):
        return Version(f"{self.major}.{self.parts[1] + n}")

    def __repr__(self):
        return f"Version({self.text!r})"


def highest(versions):
    return max(versions), versions[0] + 1, versions[0].major


def change(version):
    version.parts = (9, 9)
    return version


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        first = Version("1.2")
        print(first.major, ex.submit(highest, [first, Version("1.10")]).result(), ex.submit(change, first).result())
        print(ex.submit(highest, [Version("2.1")]).result()[0] in {Version("2.1")}, first)
