"""What a program is made of - ``__main__``, closures, local modules, its directory - is found on the node."""

from __future__ import annotations

import functools
import operator
import sys
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground


def test_functions_of_every_kind(ground: Ground) -> None:
    factor = 3

    def closure(x: int) -> int:
        return factor * x

    def recursive(n: int) -> int:
        return 1 if n == 0 else n * recursive(n - 1)

    class Local:
        def __init__(self, value: int) -> None:
            self.value = value

        def method(self, x: int) -> int:
            return self.value + x

        def __call__(self, x: int) -> int:
            return self.value * x

        @staticmethod
        def static(x: int) -> int:
            return -x

    with ground.executor() as ex:
        assert ex.submit(lambda x: x + factor, 1).result(60) == 4
        assert ex.submit(closure, 2).result(60) == 6
        assert ex.submit(recursive, 5).result(60) == 120
        assert ex.submit(Local(1).method, 2).result(60) == 3
        assert ex.submit(Local(5), 2).result(60) == 10
        assert ex.submit(Local.static, 2).result(60) == -2
        assert ex.submit(functools.partial(tasks.add, b=5), 1).result(60) == 6
        assert ex.submit(operator.itemgetter(1), "abc").result(60) == "b"
        assert ex.submit(str.upper, "abc").result(60) == "ABC"
        assert list(ex.map(lambda x: [x] * factor, range(3))) == [[0] * 3, [1] * 3, [2] * 3]
        made = ex.submit(Local, 7).result(60)
        assert isinstance(made, Local)
        assert made.value == 7


_MAIN = """
import dataclasses, enum, sys
import helper_of_the_program as helper
sys.path.insert(0, sys.argv[1])
import only_on_the_path

@dataclasses.dataclass
class Point:
    x: int
    y: int = 0

class Colour(enum.Enum):
    RED = 1

class OwnError(Exception):
    def __init__(self, point):
        super().__init__(point)
        self.point = point

FACTOR = 2

def scale(point):
    return Point(point.x * FACTOR, point.y * FACTOR)

def fail(point):
    raise OwnError(point)

def main():
    global FACTOR
    with executor() as ex:
        assert ex.submit(scale, Point(1, 2)).result() == Point(2, 4)
        FACTOR = 10
        assert ex.submit(scale, Point(1, 2)).result() == Point(10, 20), "a global that has changed"
        assert list(ex.map(scale, [Point(1), Point(2)])) == [Point(10), Point(20)]
        assert ex.submit(lambda: Colour.RED).result() is Colour.RED
        error = ex.submit(fail, Point(3)).exception()
        assert isinstance(error, OwnError) and error.point == Point(3), error
        try:
            list(ex.map(fail, [Point(4)]))
        except OwnError as error:
            assert error.point == Point(4)
        error = ex.submit(helper.fail, 5).exception()
        assert isinstance(error, helper.HelperError), error
        assert isinstance(ex.submit(helper.Thing).result(), helper.Thing)
        assert ex.submit(only_on_the_path.value).result() == "found"
        assert ex.submit(lambda: (only_on_the_path.value(), helper.__name__)).result()[0] == "found"
    print("all is well")

if __name__ == "__main__":
    main()
"""

_HELPER = """
class HelperError(Exception):
    pass

class Thing:
    pass

def fail(x):
    raise HelperError(x)
"""


def test_a_program_and_its_modules(ground: Ground, tmp_path: Path) -> None:
    (ground.work / "helper_of_the_program.py").write_text(_HELPER)  # beside the program
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "only_on_the_path.py").write_text("def value():\n    return 'found'\n")
    program = ground.script(_MAIN, str(tmp_path / "modules"))
    assert program.said == "all is well\n"  # type: ignore[attr-defined]


def test_a_program_from_stdin(ground: Ground) -> None:
    """As in an interactive session or a notebook: ``__main__`` is no file."""
    program = ground.script(
        """
def f(x):
    return g(x) + 1

def g(x):
    return 2 * x

with executor() as ex:
    print(ex.submit(f, 3).result(), list(ex.map(lambda x: f(x), [1, 2])))
""",
        stdin=True,
    )
    assert program.said == "7 [3, 5]\n"  # type: ignore[attr-defined]


def test_a_program_without_a_guard(ground: Ground) -> None:
    """Unlike with spawned processes, the program is not run again on the node."""
    program = ground.script(
        """
print("once")
def f(x):
    return x + 1
with executor() as ex:
    print(ex.submit(f, 1).result())
"""
    )
    assert program.said == "once\n2\n"  # type: ignore[attr-defined]


def test_relative_paths(ground: Ground) -> None:
    (ground.work / "data.txt").write_text("data")

    def read_and_write() -> str:
        Path("written.txt").write_text("written")
        return Path("data.txt").read_text()

    with ground.executor() as ex:
        assert ex.submit(read_and_write).result(60) == "data"
        assert ex.submit(Path.cwd).result(60) == Path.cwd()
    assert (ground.work / "written.txt").read_text() == "written"


def test_a_directory_with_a_difficult_name(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    difficult = ground.work / 'it\'s a "dir" $HOME %j ü;#'
    difficult.mkdir()
    monkeypatch.chdir(difficult)
    with ground.executor(directory=ground.runs / "with blank & %a") as ex:
        assert ex.submit(Path.cwd).result(60) == difficult
        future = ex.submit(print, "hello")
        future.result(60)
        assert future.output() == "hello\n"
    (ground.runs / "with blank & %a").rmdir()


def test_modules_that_appear_on_the_path_later(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module made in the middle of a session is found by calls made after that."""
    with ground.executor(max_workers=1) as ex:
        assert ex.submit(tasks.double, 1).result(60) == 2
        (tmp_path / "made_late.py").write_text("def f():\n    return 'late'\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        import made_late  # type: ignore[import-not-found]

        try:
            assert ex.submit(made_late.f).result(60) == "late"
        finally:
            sys.modules.pop("made_late", None)


def test_the_environment_of_the_program(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"CONTRACT_A": "plain", "CONTRACT_B": "a b'c\"$HOME`x`\\ ü", "CONTRACT_C": "two\nlines", "CONTRACT_D": ""}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with ground.executor() as ex:
        assert ex.submit(tasks.variables, *values).result(60) == values
