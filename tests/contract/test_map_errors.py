"""An exception out of ``map`` says which call raised it, where, and what that call had printed."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Ground

from clusterfutures.errors import TransferError, WorkerDied


@dataclass(frozen=True)
class Numbered(Exception):
    number: int

    def __reduce__(self) -> Any:
        return Numbered, (self.number,)


def invert(number: int, _text: str = "") -> int:
    print("dividing by", number)
    print("the remainder is", 6 % number if number else "?")
    return 6 // number


def raise_numbered(number: int) -> None:
    raise Numbered(number)


def die(number: int) -> int:
    if number == 2:
        os._exit(3)
    return number


def give_generator(number: int) -> Any:
    return (n for n in range(number)) if number == 3 else number


def notes_of(results: Iterator[Any], kind: type[BaseException]) -> str:
    with pytest.raises(kind) as caught:
        list(results)
    return "\n".join(getattr(caught.value, "__notes__", []))


def test_the_notes_of_an_exception(ground: Ground) -> None:
    long = "x" * 1000
    with ground.executor(max_workers=1) as ex:
        with pytest.raises(ZeroDivisionError) as caught:
            list(ex.map(invert, [3, 2, 0, 1], [long] * 4, chunksize=4))
        future = ex.submit(invert, 1)
        future.result()
        job, host = future.job_id, future.host
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        standard = pool.submit(invert, 0).exception()
    assert (str(caught.value), caught.value.args) == (str(standard), standard.args if standard else ())
    call, output = caught.value.__notes__
    assert call.startswith(f"clusterfutures: raised by call 2 of a map: {__name__}.invert(0, 'xxx")
    assert call.endswith(f"job {job} on {host}")
    assert len(call) < 300
    assert output == "its last lines of output:\n    dividing by 0\n    the remainder is ?"
    text = "".join(traceback.format_exception(caught.value))
    assert text.rstrip().endswith("the remainder is ?")
    assert text.index("return 6 // number") < text.index("raised by call 2")


@pytest.mark.on("local")
def test_every_way_through_a_map_has_them(ground: Ground) -> None:
    with ground.executor(max_workers=2) as ex:
        ways: list[Callable[[], Iterator[Any]]] = [
            lambda: ex.map(invert, [1, 2, 0], chunksize=1),
            lambda: ex.map(invert, [1, 2, 0], chunksize=2),
            lambda: ex.map(invert, [1, 2, 0], buffersize=1),
            lambda: ex.map(invert, [1, 2, 0], bins=1, ordered=False),
            lambda: ex.starmap(invert, [(1,), (2,), (0,)]),
            lambda: ex.with_options(memory="1GB").map(invert, [1, 2, 0]),
        ]
        for way in ways:
            assert "call 2 of a map: test_map_errors.invert(0), job" in notes_of(way(), ZeroDivisionError)
        assert "call 0 of a map: test_map_errors.raise_numbered(7)" in notes_of(ex.map(raise_numbered, [7]), Numbered)
        assert "call 2 of a map: test_map_errors.die(2)" in notes_of(ex.map(die, range(4)), WorkerDied)
        assert "call 3 of a map: test_map_errors.give_generator(3)" in notes_of(
            ex.map(give_generator, range(5)), TransferError
        )
        assert not getattr(ex.submit(invert, 0).exception(), "__notes__", [])


@pytest.mark.on("local")
def test_a_run_that_is_resumed_has_them(ground: Ground) -> None:
    for _ in range(2):
        with ground.executor(max_workers=1, run="again") as ex:
            notes = notes_of(ex.map(invert, [1, 0]), ZeroDivisionError)
            assert "call 1 of a map: test_map_errors.invert(0), job" in notes
