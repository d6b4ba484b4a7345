"""When two calls count as the same: in other programs, from other files, with other hash seeds."""

from __future__ import annotations

import datetime
import functools
import os
import subprocess
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clusterfutures
from clusterfutures.client.resume.tokenize import Identities, digest_of

SOURCE = """
import math
K = 3
class Point:
    def __init__(self, x): self.x = x
    def times(self): return self.x * K
def helper(x): return x * K if x else main(x - 1)
def main(x, *, table={1: 2, 3: 4}):
    chosen = {"a", "b", "c"}
    if x in {1, 2, 3} or str(x) in {"x", "y"}: pass
    return helper(x) + math.sin(x) + Point(x).times() + len(chosen)
def outer(n):
    def inner(y, z=n): return y + n + z
    return inner
"""


def program(path: str, source: str = SOURCE) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": path}
    exec(compile(source, path, "exec"), namespace)
    return namespace


def test_the_same_program_from_another_file() -> None:
    one, other = program("/x/fit_1.py"), program("<string>", f"# hello\n\n{SOURCE}")
    for name in ("main", "helper", "Point"):
        assert digest_of(one[name]) == digest_of(other[name]), name
    assert digest_of(one["outer"](2)) == digest_of(other["outer"](2))
    assert digest_of(one["Point"](2)) == digest_of(other["Point"](2))
    assert digest_of(one["Point"](2).times) == digest_of(other["Point"](2).times)


@pytest.mark.parametrize(
    "change",
    [
        ("x * K if", "x * K + 1 if"), ("K = 3", "K = 4"), ("{1: 2,", "{1: 3,"), ("self.x * K", "K * self.x"),
        ("math.sin", "math.cos"),
    ],
)  # fmt: skip
def test_a_change_that_matters(change: tuple[str, str]) -> None:
    """In the function, or in what it calls, or in a global or default of these."""
    assert digest_of(program("a", SOURCE)["main"]) != digest_of(program("a", SOURCE.replace(*change))["main"])


def test_closures_and_instances_differ_by_what_is_in_them() -> None:
    main = program("a")
    assert digest_of(main["outer"](2)) != digest_of(main["outer"](3))
    assert digest_of(main["Point"](2)) != digest_of(main["Point"](3))
    assert digest_of(functools.partial(main["helper"], 1)) != digest_of(functools.partial(main["helper"], 2))


def test_equal_values_are_equal_however_they_came_about() -> None:
    text, same = "ab" * 5, "".join(["ab"] * 5)
    assert digest_of((text, text, [text])) == digest_of((text, same, [same]))
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of(np.arange(3.0)) == digest_of(np.array([0.0, 1, 2]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0), (1, True), ("1", b"1"), ((1, 2), [1, 2]), ((1, (2,)), (1, 2)), ([["a"], "b"], [["a", "b"]]),
        ({1, 2}, {1, 3}), (np.zeros(3), np.zeros(3, np.float32)), (np.zeros((2, 3)), np.zeros((3, 2))), (len, max),
        (Path("/a"), Path("/b")), (datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)), (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list), defaultdict(int)), (int, float), (slice(1), slice(2)),
    ],
)  # fmt: skip
def test_what_is_different_is_told_apart(one: Any, other: Any) -> None:
    assert digest_of(one) == digest_of(one)
    assert digest_of(one) != digest_of(other)


def test_values_within_themselves() -> None:
    def ring(n: int) -> list[Any]:
        row: list[Any] = [n]
        row.append(row)
        return row

    assert digest_of(ring(1)) == digest_of(ring(1))
    assert digest_of(ring(1)) != digest_of(ring(2))


def test_what_cannot_be_taken_apart_is_taken_as_it_is_pickled() -> None:
    class Stubborn:
        def __reduce_ex__(self, _protocol: Any) -> Any:
            raise TypeError("not now")

    with pytest.raises(TypeError, match="not now"):
        digest_of(Stubborn())  # nor could it be pickled


def test_in_other_processes_with_other_hash_seeds() -> None:
    text = f"""
source = {SOURCE!r}
exec(compile(source, "somewhere", "exec"))
from clusterfutures.client.resume.tokenize import Identities
print(Identities().of(main, "key", (Point(1), {{"a", "b"}}, frozenset("xyz")), {{"k": len}}).hex())
"""
    root = str(Path(clusterfutures.__file__).resolve().parents[1])
    said = {
        subprocess.run(
            [sys.executable, "-c", text], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(said) == 1


def test_keyword_or_position_is_a_difference_and_order_of_keywords_none() -> None:
    def of(*args: Any, **kwargs: Any) -> bytes:
        return Identities().of(print, "key", args, kwargs)

    assert of(1, b=2, c=3) == of(1, c=3, b=2)
    assert of(1, 2) != of(1, b=2)


def test_calls_that_wait_for_others_are_known_by_their_results() -> None:
    call: Callable[[list[Any]], bytes] = functools.partial(Identities().with_results, b"call")
    assert call([1, [2]]) == call([1, [2]]) != call([1, [3]])


class _Unreadable:
    def __reduce_ex__(self, protocol: int) -> str:
        raise TypeError("not to be pickled")


def test_what_cannot_be_identified_is_another_call_each_time(caplog: pytest.LogCaptureFixture) -> None:
    identities = Identities()
    found = {identities.of(len, "key", (_Unreadable(),), {}) for _ in range(3)}
    assert len(found) == 3
    assert caplog.text.count("cannot be identified") == 1


def test_a_cached_function_counts_by_its_code() -> None:
    def of(text: str) -> bytes:
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(
            f"import functools\n@functools.lru_cache\ndef table(n): return {text}\ndef call(n): return table(n)", space
        )
        return Identities().of(space["call"], "key", (), {})

    assert of("n + 1") == of("n + 1")
    assert of("n + 1") != of("n + 2")
