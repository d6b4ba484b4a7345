# better: one call that kills its process breaks a whole ProcessPoolExecutor; here it fails its own future
"""os._exit in a call: BrokenExecutor, and the executor goes on."""

import os
from concurrent.futures import BrokenExecutor
from under_test import Executor


def die():
    os._exit(3)


def live(n):
    return n


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        try:
            ex.submit(die).result()
        except BrokenExecutor:
            pass
        else:
            raise SystemExit("nothing was raised")
        assert ex.submit(live, 4).result() == 4
    print("done")
