"""Built-in functions, methods of built-ins, operators, classes as functions."""

import itertools, math, operator, os.path, datetime, decimal, pathlib
from under_test import Executor

if __name__ == "__main__":
    with Executor(max_workers=2) as ex:
        print(list(ex.map(pow, [2, 3], [4, 5])), list(ex.map(math.sqrt, [4, 9])), list(ex.map(str, range(3))))
        print(
            ex.submit("a-b".split, "-").result(), ex.submit([3, 1].index, 1).result(), ex.submit({}.get, 1, 2).result()
        )
        print(
            ex.submit(operator.itemgetter(1), [5, 6]).result(), ex.submit(operator.methodcaller("upper"), "a").result()
        )
        print(
            ex.submit(operator.attrgetter("real"), 3).result(),
            ex.submit(dict, a=1).result(),
            ex.submit(os.path.join, "a", "b").result(),
        )
        print(
            ex.submit(datetime.date.fromisoformat, "2020-01-02").result(),
            ex.submit(decimal.Decimal("1.5").quantize, decimal.Decimal("1")).result(),
        )
        print(
            ex.submit(int.from_bytes, b"\x01\x00", "big").result(),
            ex.submit(str.upper, "x").result(),
            ex.submit(pathlib.Path("a/b").with_suffix, ".c").result(),
        )
        print(list(ex.map(operator.add, range(3), itertools.count(10))))
