"""What cannot travel: the error has the way to it, and what to do."""

from __future__ import annotations

import functools
import multiprocessing
import queue
import socket
import sqlite3
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusterfutures import LocalExecutor
from clusterfutures.client.serialize import Pickler
from clusterfutures.errors import TransferError
from clusterfutures.node import serialize
from clusterfutures.store.run_directory import RunDirectory

CONNECTION = sqlite3.connect(":memory:")


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


class Plain:
    def __init__(self, held: Any) -> None:
        self.held = held

    def work(self) -> None:
        pass


def work(*args: Any, **kwargs: Any) -> None:
    pass


@pytest.fixture
def pickler(tmp_path: Path) -> Pickler:
    return Pickler(RunDirectory.create(str(tmp_path / "run")))


def said(make: Callable[[], Any]) -> str:
    with pytest.raises(TransferError) as caught:
        make()
    text = str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError | AttributeError | RuntimeError), caught.value.__cause__
    return text


@pytest.mark.parametrize(
    ("args", "kwargs", "where"),
    [
        ((1, CONNECTION), {}, "argument 2"),
        ((1,), {"x": CONNECTION}, "argument 'x'"),
        (([1, [CONNECTION]],), {}, "argument 1's [1][0]"),
        (({"a": {"b": CONNECTION}},), {}, "argument 1's ['a']['b']"),
        ((Plain([CONNECTION]),), {}, "argument 1's .held[0]"),
        ((Slotted((1, CONNECTION)),), {}, "argument 1's .held[1]"),
        (({1, Plain(CONNECTION)},), {}, "argument 1's .{an element}.held"),
        ((deque([1, CONNECTION]),), {}, "argument 1's [1]"),
        ((OrderedDict(a=CONNECTION),), {}, "argument 1's ['a']"),
        ((functools.partial(work, 1, CONNECTION),), {}, "argument 1's .args[1]"),
        ((functools.partial(work, key=CONNECTION),), {}, "argument 1's .keywords['key']"),
        ((Plain(CONNECTION).work,), {}, ".held of the object of method 'Plain.work'"),
    ],
)
def test_the_way_through_arguments(pickler: Pickler, args: Any, kwargs: Any, where: str) -> None:
    text = said(lambda: pickler.call(args, kwargs, work))
    assert f"cannot be pickled: {where} is a sqlite3.Connection" in text
    assert ": open it inside the call, or in initializer=" in text
    assert text.endswith("(TypeError: cannot pickle 'sqlite3.Connection' object)")


def test_the_way_through_the_arguments_of_a_map(pickler: Pickler) -> None:
    text = said(lambda: pickler.arguments([(1, 2), (3, CONNECTION)], work, 10))
    assert "argument 2 of call 11 is a sqlite3.Connection" in text


def make(source: str, **names: Any) -> Any:
    """A function of a program: its globals travel."""
    main = sys.modules["__main__"]
    for name, value in names.items():
        setattr(main, name, value)
    exec(compile(source, "/home/me/fit.py", "exec"), vars(main))
    return vars(main)["load"]


@pytest.fixture
def clean_main() -> Iterator[None]:
    before = dict(vars(sys.modules["__main__"]))
    yield
    vars(sys.modules["__main__"]).clear()
    vars(sys.modules["__main__"]).update(before)


@pytest.mark.usefixtures("clean_main")
@pytest.mark.parametrize(
    ("source", "names", "where"),
    [
        ("\ndef load(n):\n    return conn", {"conn": CONNECTION}, "global 'conn' of function 'load' (fit.py:2)"),
        (
            "def load():\n    return cfg",
            {"cfg": {"db": [CONNECTION]}},
            "['db'][0] of global 'cfg' of function 'load' (fit.py:1)",
        ),
        ("def inner():\n    conn\n\ndef load():\n    inner()", {"conn": CONNECTION}, "of function 'inner' (fit.py:1)"),
        (
            "def load(n, c=conn):\n    pass",
            {"conn": CONNECTION},
            "default of argument 'c' of function 'load' (fit.py:1)",
        ),
        (
            "def load(*, c=conn):\n    pass",
            {"conn": CONNECTION},
            "default of argument 'c' of function 'load' (fit.py:1)",
        ),
        (
            "def outer():\n    c = conn\n    return lambda: c\nload = outer()",
            {"conn": CONNECTION},
            "variable 'c' in the closure of function 'outer.<locals>.<lambda>' (fit.py:3)",
        ),
        ("class A:\n    c = conn\ndef load():\n    A", {"conn": CONNECTION}, "attribute 'c' of class 'A'"),
        (
            "class A:\n    def run(self):\n        conn\nload = A().run",
            {"conn": CONNECTION},
            "of function 'A.run' (fit.py:2)",
        ),
    ],
)
def test_the_way_through_functions(pickler: Pickler, source: str, names: dict[str, Any], where: str) -> None:
    text = said(lambda: pickler.function(make(source, **names)))
    assert f"{where} is a sqlite3.Connection: open it inside the call, or in initializer=" in text


@pytest.mark.usefixtures("clean_main")
def test_a_function_among_the_arguments(pickler: Pickler) -> None:
    function = make("def load():\n    return conn", conn=CONNECTION)
    text = said(lambda: pickler.call(([function],), {}, work))
    assert "global 'conn' of function 'load' (fit.py:1) is a sqlite3.Connection (in argument 1's [0])" in text


def test_an_initializer(pickler: Pickler) -> None:
    text = said(lambda: pickler.initializer(work, (1, {"c": CONNECTION})))
    assert "the initializer " in text
    assert "initargs[1]'s ['c'] is a sqlite3.Connection" in text


def things() -> Iterator[tuple[Any, str]]:
    yield (n for n in [1]), "a generator: give list(...) of it"
    yield threading.Lock(), "a _thread.lock: make it inside the call, or give a multiprocessing.Lock()"
    yield queue.Queue(), "a queue.Queue: return results instead"
    yield threading.Event(), "a threading.Event: make it inside the call"
    yield threading.Thread(), "a threading.Thread: start it inside the call"
    yield multiprocessing.Pipe()[0], "a multiprocessing.connection.Connection: return results instead"
    yield multiprocessing.Value("i", 1), "a multiprocessing.sharedctypes.Synchronized: return results instead"
    yield multiprocessing.Barrier(2), "a multiprocessing.synchronize.Barrier: return results instead"
    yield sys._getframe(), "a frame: give the values"
    yield LocalExecutor(max_workers=1), "an executor (clusterfutures.executors.LocalExecutor): leave it out"


def test_what_it_is_and_what_to_do(pickler: Pickler, tmp_path: Path) -> None:
    for thing, told in things():
        assert f"argument 1's [0] is {told}" in said(lambda: pickler.call(([thing],), {}, work))  # noqa: B023
    with open(tmp_path / "data", "w") as file:
        assert "argument 1 is an open file (_io.TextIOWrapper of" in said(lambda: pickler.call((file,), {}, work))
    with open(tmp_path / "data") as file:  # no copy of what it has
        assert "give its name, and open it inside the call" in said(lambda: pickler.call((file,), {}, work))
    with open(tmp_path / "data", "rb") as binary:
        assert "an open file (_io.BufferedReader of" in said(lambda: pickler.call((binary,), {}, work))
    with socket.socket() as open_socket:
        assert "is a socket.socket: open it" in said(lambda: pickler.call((open_socket,), {}, work))


def test_stdout_is_the_one_of_the_process_there(pickler: Pickler) -> None:
    assert pickler.call((sys.__stdout__ if sys.stdout is sys.__stdout__ else 1,), {}, work)


def test_a_way_that_cannot_be_found_still_has_the_cause(pickler: Pickler) -> None:
    class Odd:
        def __reduce__(self) -> Any:
            return list, ([sqlite3.connect(":memory:")],)

    assert "TypeError: cannot pickle 'sqlite3.Connection' object" in said(lambda: pickler.call((Odd(),), {}, work))


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"conn": CONNECTION}, "the result's ['conn'] is a sqlite3.Connection: open it inside the call ("),
        ([1, Plain(CONNECTION)], "the result's [1].held is a sqlite3.Connection"),
        (CONNECTION, "the result is a sqlite3.Connection"),
    ],
)
def test_the_way_through_results(value: Any, where: str) -> None:
    with pytest.raises(TypeError) as caught:
        serialize.dumped(value, lambda _buffer: True, [])
    assert where in str(serialize.cannot_pickle("the result of this call", value, caught.value))
