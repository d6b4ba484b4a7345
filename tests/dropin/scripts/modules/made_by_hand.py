"""A module made by hand and put into sys.modules."""

import multiprocessing, sys, types
from under_test import Executor

made = types.ModuleType("made_by_hand")
exec("factor = 2\ndef double(n): return n * factor\n", made.__dict__)
sys.modules["made_by_hand"] = made


def use(n):
    import made_by_hand

    return made_by_hand.double(n)


if __name__ == "__main__":
    with Executor(max_workers=1, mp_context=multiprocessing.get_context("fork")) as ex:
        print(ex.submit(made.double, 2).result(), ex.submit(use, 3).result())
