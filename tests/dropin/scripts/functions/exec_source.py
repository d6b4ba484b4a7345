# better: a function from exec has no place in __main__ that pickle could import
"""Functions that exec makes from text, as a configuration or a formula."""

from under_test import Executor

if __name__ == "__main__":
    space = {}
    exec("import math\ndef area(r): return round(math.pi * r ** 2, 3)\nclass Shape:\n    side = 2\n", space)
    with Executor(max_workers=1) as ex:
        assert ex.submit(space["area"], 2).result() == 12.566
        assert ex.submit(eval("lambda x: x + 1"), 2).result() == 3
        assert ex.submit(lambda: space["Shape"].side).result() == 2
    print("done")
