"""A module loaded from a path, which no finder would find again."""

import importlib.util, multiprocessing, sys
from under_test import Executor

TEXT = "import math\nSCALE = 3\nseen = []\nclass Thing:\n    def __init__(self, n): self.n = n\ndef scaled(n): seen.append(n); return SCALE * n, len(seen)\ndef thing(n): return Thing(n)\n"
with open("plugin_file.py", "w") as file:
    file.write(TEXT)
spec = importlib.util.spec_from_file_location("a_plugin", "plugin_file.py")
plugin = importlib.util.module_from_spec(spec)
sys.modules["a_plugin"] = plugin
spec.loader.exec_module(plugin)


def through(n):
    return plugin.scaled(n), plugin.SCALE


if __name__ == "__main__":
    with Executor(max_workers=1, mp_context=multiprocessing.get_context("fork")) as ex:
        print(ex.submit(plugin.scaled, 2).result(), ex.submit(through, 3).result())
        thing = ex.submit(plugin.thing, 4).result()
        print(thing.n, isinstance(thing, plugin.Thing))
