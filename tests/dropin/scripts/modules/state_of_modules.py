"""State in a module that is imported: an initializer sets it, calls see it."""

import os, sys

with open("settings_mod.py", "w") as file:
    file.write("LEVEL = 0\nitems = []\ndef level(): return LEVEL, items\n")
sys.path.insert(0, os.getcwd())
import settings_mod
from under_test import Executor


def prepare(level):
    settings_mod.LEVEL = level
    settings_mod.items.append(level)


def look():
    return settings_mod.LEVEL, settings_mod.level()


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=prepare, initargs=(3,)) as ex:
        print(ex.submit(look).result(), ex.submit(settings_mod.level).result())
    print(settings_mod.LEVEL)
