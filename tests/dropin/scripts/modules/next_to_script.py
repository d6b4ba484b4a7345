"""Modules and packages in the program's directory, and on a path that it added."""

import os, sys

os.makedirs("library/package", exist_ok=True)
for name, text in {
    "library/helper_mod.py": "VALUE = 4\ndef helper(n): return n + VALUE\n",
    "library/package/__init__.py": "from .inner import Item\n",
    "library/package/inner.py": "class Item:\n    def __init__(self, n): self.n = n\n    def double(self): return Item(self.n * 2)\n",
}.items():
    with open(name, "w") as file:
        file.write(text)
sys.path.insert(0, os.path.abspath("library"))
import helper_mod
import package
from under_test import Executor


def use(n):
    return helper_mod.helper(n), package.Item(n).double().n


def late(n):
    import helper_mod as again

    return again.VALUE


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(helper_mod.helper, 1).result(), ex.submit(use, 2).result(), ex.submit(late, 1).result())
        print(type(ex.submit(package.Item(3).double).result()) is package.Item)
