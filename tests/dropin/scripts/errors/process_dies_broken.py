"""os._exit in a call is a BrokenExecutor, also when map meets it."""

import os
from concurrent.futures import BrokenExecutor
from under_test import Executor


def die(n):
    os._exit(3)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        try:
            ex.submit(die, 1).result()
        except BrokenExecutor:
            print("broken")
    with Executor(max_workers=1) as ex:
        try:
            list(ex.map(die, [1]))
        except BrokenExecutor:
            print("broken")
