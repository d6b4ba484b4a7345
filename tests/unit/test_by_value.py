"""What a pickle by value takes along, and how often it is made."""

from __future__ import annotations

import subprocess
import sys

_ATTRIBUTE = """
import sqlite3
from clusterfutures import by_value
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
from clusterfutures import by_value
from clusterfutures.store import definitions
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
