"""``by_value=``: what the named modules define travels, whatever the nodes can import."""

from __future__ import annotations

import importlib
import math
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from conftest import Ground

from clusterfutures import LocalExecutor
from clusterfutures.errors import OptionError

SOURCE = """
FACTOR = {factor}
seen = []

class Point:
    def __init__(self, x):
        self.x = x

def scaled(n):
    seen.append(n)
    return FACTOR * n, len(seen)

def point(n):
    return Point(helped(n))

def helped(n):
    return n + {factor}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module whose file has changed since it was imported: a node imports another one."""
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "changed_since.py"
    path.write_text(SOURCE.format(factor=2))
    found = importlib.import_module("changed_since")
    path.write_text(SOURCE.format(factor=100))
    yield found
    if "changed_since" in cloudpickle.list_registry_pickle_by_value():
        cloudpickle.unregister_pickle_by_value(found)
    del sys.modules["changed_since"]


@pytest.mark.on("local", "slurm")
@pytest.mark.parametrize("as_name", [False, True])
def test_a_module_travels(ground: Ground, module: Any, as_name: bool) -> None:
    with ground.executor(max_workers=1) as ex:
        assert ex.submit(module.scaled, 1).result() == (100, 1)
    with ground.executor(max_workers=1, by_value=["changed_since"] if as_name else [module]) as ex:
        assert list(ex.map(module.scaled, [1, 2])) == [(2, 1), (4, 2)]
        found = ex.submit(module.point, 1).result()
        assert (type(found), found.x) == (module.Point, 3)


@pytest.mark.on("local")
def test_one_module_alone(ground: Ground, module: Any) -> None:
    with ground.executor(max_workers=1, by_value=module) as ex:
        assert ex.submit(module.scaled, 3).result() == (6, 1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (3, r"give a list of modules, as by_value=\[mymodule\]"),
        ([3], "3 is no module: give a module or its name"),
        (["no_such_module_anywhere"], "cannot be imported here .*ModuleNotFoundError.*correct the name"),
        ([math], "is there on every node: leave it out"),
        (["json.decoder"], "is there on every node"),
        ([types.ModuleType("not_there")], "not the module that sys.modules has"),
    ],
)
def test_what_is_refused(tmp_path: Path, given: Any, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        LocalExecutor(by_value=given, directory=tmp_path)
