"""What a pickle by value takes along, and how often it is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ATTRIBUTE = """
import sqlite3
from clusterfutures.pickling import by_value
conn = sqlite3.connect(":memory:")      # cannot travel, and no function names it
log = []
def inner(box):
    return box.conn
class Reader:
    def read(self):
        return self.conn
def call(box):
    log.append(box)
    return inner(box), Reader
print(len({by_value.dumps(call) for _ in range(3)}))
"""

_LATER = """
from clusterfutures.pickling import by_value
from clusterfutures.pickling import definitions
log = []
def inner():
    return helper()
class Reader:
    def read(self):
        return helper()
def call():
    log.append(1)
    return inner(), Reader
def names():
    return sorted(name for (_, name), _ in definitions.fields(by_value.dumps(call))[1])
first = names()
def helper():
    return 1
print(first, names())
"""


def said(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_attribute_is_no_global() -> None:
    assert said(_ATTRIBUTE) == "1\n"


def test_a_global_that_is_defined_later_is_taken_along() -> None:
    assert said(_LATER) == "['Reader', 'call', 'inner', 'log'] ['Reader', 'call', 'helper', 'inner', 'log']\n"


_CLASSES = """
from clusterfutures.pickling import by_value
from clusterfutures.pickling import definitions
from clusterfutures.client.serialize import FunctionSnapshot
made = []
original = by_value._DefinitionPickler.definition
by_value._DefinitionPickler.definition = lambda self, value: made.append(value) or original(self, value)
class Base:
    limit = 3
class Item(Base):
    __slots__ = ("value",)
    def get(self, n=1):
        return helper(n)
    @property
    def twice(self):
        return 2
    @classmethod
    def make(cls):
        return cls()
def helper(n):
    return n
def call():
    return Item().get(), Item.limit

def versions():
    return dict(definitions.fields(by_value.dumps(call))[1])
before = versions()
count = len(made)
assert versions() == before
print("pickled again:", len(made) - count)

def changed(change):
    global before
    snapshot = FunctionSnapshot.of(call)
    assert snapshot is not None and snapshot.holds()
    change()
    now = versions()
    print(snapshot.holds(), sorted(name for (_, name) in now if now[_, name] != before.get((_, name))))
    before = now

changed(lambda: None)
changed(lambda: setattr(Base, "limit", 4))
changed(lambda: setattr(Item.get, "__defaults__", (2,)))
changed(lambda: setattr(Item, "more", lambda self: 1))
changed(lambda: setattr(helper, "__code__", (lambda n: n + 1).__code__))
Item.items = []
print(FunctionSnapshot.of(call))
"""


def test_a_class_is_pickled_again_only_when_it_has_changed() -> None:
    assert said(_CLASSES).splitlines() == [
        "pickled again: 0",
        "True []",
        "False ['Base']",
        "False ['Item']",
        "False ['Item']",
        "False ['helper']",
        "None",
    ]


_CACHES = """
import pickle
from clusterfutures.pickling import by_value
from clusterfutures.pickling import definitions
class Item:
    def get(self):
        return 1
def versions():
    return definitions.fields(by_value.dumps(Item))[1]
before = versions()
by_value.dumps(Item())          # copyreg notes in the class that it has no slots
Item.__annotations__            # Python makes an empty dictionary for that question
print(versions() == before)
"""


def test_what_python_notes_in_a_class_is_no_change_of_the_program() -> None:
    assert said(_CACHES) == "True\n"


_EXECUTORS = """
import sys
from clusterfutures import LocalExecutor
from clusterfutures.pickling import definitions
def call():
    return 1
for _ in range(3):
    with LocalExecutor(max_workers=1, directory=sys.argv[-1]) as ex:
        assert ex.submit(call).result(60) == 1
print(len(definitions.readers))
"""


def test_executors_that_follow_each_other_leave_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _EXECUTORS, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0\n", done.stderr


_UNPICKLERS = """
import io, json, pickle, sys, types
import numpy
from clusterfutures.pickling import by_value

def there_and_back(value):
    file = io.BytesIO()
    by_value.Pickler(file, 5).dump(value)
    return pickle.loads(file.getvalue())

# Cython gives its functions a class of a module that nobody can import: their own module is another one.
seed = numpy.random.SeedSequence(12345).spawn(1)[0]
assert there_and_back(seed).generate_state(2).tolist() == seed.generate_state(2).tolist()
assert there_and_back([type(seed), seed])[0] is type(seed)

# The same without Cython: a callable of an importable module, its class in one that nobody can import.
made = types.ModuleType("_made_at_run_time")
sys.modules["_made_at_run_time"] = made
class Callable:
    __module__ = "_made_at_run_time"
    def __reduce__(self): return "rebuild"
made.Callable = Callable
json.rebuild = Callable()
json.rebuild.__module__ = "json"
assert there_and_back(json.rebuild) is json.rebuild
print("same")
"""


def test_an_object_of_an_importable_module_travels_by_its_name() -> None:
    assert said(_UNPICKLERS) == "same\n"


_LARGE = """
from clusterfutures.pickling import by_value
TEXT, DATA, SMALL = "x" * 10_000_000, bytes(10_000_000), "small"
def call():
    pass
found = by_value.everything("__main__")
print(len(found) < 100_000, b"SMALL" in found)
"""


def test_large_text_that_no_function_names_stays_here() -> None:
    done = subprocess.run([sys.executable, "-c", _LARGE], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True True\n", done.stderr
