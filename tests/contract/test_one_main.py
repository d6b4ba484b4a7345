"""What a program defines has one namespace in each process: its ``__main__``.

What initializers and calls put into globals stays; what the program changes between two calls is seen by the
later one; results are instances of the program's own classes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Ground

_ONE = """
import enum, functools, pickle, sys, threading, weakref
import multiprocessing as mp
from clusterfutures import LocalExecutor

state, alias = {}, None
alias = state
lock = threading.Lock()

class Colour(enum.Enum):
    RED = 1

class Base:
    made = []
    def __init_subclass__(cls, *, tag, **more):
        super().__init_subclass__(**more)
        Base.made.append(tag)

class Child(Base, tag="child"):
    __slots__ = ("value",)
    shared = state
    def __init__(self, value):
        self.value = value

class Node:
    def __init__(self):
        self.ref = weakref.ref(self)

@functools.lru_cache(maxsize=None)
def table(n):
    state[n] = n
    return n * n

def fill(x):
    state["x"] = x

def read():
    return state.get("x"), alias is state, Child.shared is state, len(Base.made)

def lazy():
    with lock:
        return table(3), table.cache_info().misses

def count():
    global counter
    counter += 1
    return counter

def by_name():
    copy = pickle.loads(pickle.dumps([Colour.RED, table, fill]))
    return copy[0] is Colour.RED, copy[1] is table, copy[2] is fill

def local():
    class Local:
        pass
    return Local()

counter = 0

if __name__ == "__main__":
    with LocalExecutor(max_workers=1, initializer=fill, initargs=(7,)) as ex:
        ask = lambda f, *args: ex.submit(f, *args).result(60)
        print(ask(read), ask(lazy), ask(lazy), ask(by_name))
        print(ask(count), ask(count))
        counter = 10                      # the program says something new
        print(ask(count), ask(count))
        def count():                      # and something else
            return "new", counter
        print(ask(count))
        child = ask(Child, 3)
        print(ask(lambda: Colour.RED) is Colour.RED, type(child) is Child, child.value, ask(lambda: fill) is fill)
        node = ask(Node)
        print(node.ref() is node)
        print(ask(lambda: sys.argv[1:]), ask(lambda: __import__("__main__").state["x"]))
        print(type(ask(local)).__qualname__)
"""
_SAID = """\
(7, True, True, 1) (9, 1) (9, 1) (True, True, True)
1 2
11 12
('new', 12)
True True 3 True
True
['a b'] 7
local.<locals>.Local
"""


@pytest.mark.on("local")
def test_one_namespace(ground: Ground, tmp_path: Path) -> None:
    script = tmp_path / "one_main.py"
    script.write_text(_ONE)
    done = subprocess.run(
        [sys.executable, str(script), "a b"], capture_output=True, text=True, cwd=tmp_path, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == _SAID


_MADE = """
import sys
import clusterfutures
from clusterfutures import LocalExecutor

class Item:
    def __init__(self, value):
        self.value = value
    def double(self):
        return helper(self.value)

def helper(n):
    return 2 * n

def make(n):
    return Item(n)

ex = LocalExecutor(max_workers=1, run="items", directory=sys.argv[1])
assert type(ex.submit(make, 3).result(60)) is Item
ex.submit(make, 4).result(60)
assert [type(item) for item in ex.map(make, range(5, 7), chunksize=2)] == [Item, Item]
ex.shutdown()
"""
_ATTACHED = """
import sys
import clusterfutures
with clusterfutures.attach("items", directory=sys.argv[1]) as run:
    for future in reversed(run.futures):
        item = future.result(60)
        print(type(item).__name__, item.value, item.double())
clusterfutures.remove_run("items", directory=sys.argv[1])
"""


@pytest.mark.on("local")
def test_another_program_that_attaches_gets_the_classes(ground: Ground, tmp_path: Path) -> None:
    said = []
    for text in (_MADE, _ATTACHED):
        done = subprocess.run(
            [sys.executable, "-c", text, str(tmp_path / "runs")],
            capture_output=True, text=True, cwd=tmp_path, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[1] == "Item 6 12\nItem 5 10\nItem 4 8\nItem 3 6\n"


@pytest.mark.on("local")
def test_many_calls_write_few_objects(ground: Ground, tmp_path: Path) -> None:
    """A loop at the top of a program changes its own variable; that is no reason to store anything again."""
    script = tmp_path / "loop.py"
    script.write_text("""
import pathlib, sys
from clusterfutures import LocalExecutor
cache = {}
class Item:
    pass
def use(n):
    return n, len(cache), Item.__name__
with LocalExecutor(max_workers=1, directory=sys.argv[1]) as ex:
    for n in range(50):
        ex.submit(use, n).result(60)
    (run,) = pathlib.Path(sys.argv[1]).iterdir()
    print(sum(path.is_file() for path in (run / "objects").rglob("*")))
""")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "runs")], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 4  # the function, and what the program defines besides, perhaps twice


@pytest.mark.on("local")
def test_what_the_program_changes_in_an_object_is_seen_wherever_it_stands(ground: Ground, tmp_path: Path) -> None:
    script = tmp_path / "changed.py"
    script.write_text("""
import sys
from clusterfutures import LocalExecutor
class Config:
    def __init__(self, size):
        self.size = size
config = Config(1)
everywhere = [config]
deep = {"a": [config]}
def look(_):
    return config.size, everywhere[0].size, deep["a"][0].size, everywhere[0] is config
def grow(_):
    config.size += 1
def only(_):
    return everywhere[0].size
with LocalExecutor(max_workers=1, directory=sys.argv[1]) as ex:
    for step in (look, grow, look):
        print(ex.submit(step, 0).result(60))
    config.size = 50
    print(ex.submit(only, 0).result(60), ex.submit(look, 0).result(60))
    everywhere[0] = Config(7)
    print(ex.submit(look, 0).result(60))
""")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "runs")], capture_output=True, text=True, cwd=tmp_path, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(1, 1, 1, True)\nNone\n(2, 2, 2, True)\n50 (50, 50, 50, True)\n(50, 7, 50, False)\n"
