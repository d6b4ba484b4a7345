"""Processes that calls start by spawn and forkserver have the program's names, and do not run the program again."""

from __future__ import annotations

import pytest
from conftest import Ground

pytestmark = pytest.mark.on("local", "slurm")

PROGRAM = """
import multiprocessing, os
ran = __name__
with open("ran", "a") as file:
    file.write(f"{ran}\\n")

class Number(int):
    pass

def square(x):
    return Number(x * x)

def pool(how):
    with multiprocessing.get_context(how).Pool(2) as made:
        return made.map_async(square, [Number(n) for n in range(4)]).get(60), ran

with executor(max_workers=1) as ex:
    for how in ("spawn", "forkserver", "fork"):
        found, where = ex.submit(pool, how).result(90)
        print(how, found, where, all(type(one) is Number for one in found))
"""
SAID = "".join(f"{how} [0, 1, 4, 9] __main__ True\n" for how in ("spawn", "forkserver", "fork"))


@pytest.mark.parametrize("stdin", [False, True], ids=["file", "stdin"])
def test_a_program_without_a_guard(ground: Ground, stdin: bool) -> None:
    program = ground.script(PROGRAM, stdin=stdin)
    assert program.said == SAID  # type: ignore[attr-defined]
    assert (ground.work / "ran").read_text() == "__main__\n"
