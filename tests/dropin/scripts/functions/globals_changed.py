# better: a process of ProcessPoolExecutor keeps the global as it was when it was forked
"""A global that the program changes between two submits."""

from under_test import Executor

rate = 1
table = {"a": 1}


class Config:
    level = 1


def look():
    return rate, table["a"], Config.level


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        assert ex.submit(look).result() == (1, 1, 1)
        rate = 2
        table = {"a": 2}
        assert ex.submit(look).result() == (2, 2, 1)
        Config.level = 3
        assert ex.submit(look).result() == (2, 2, 3)
    print("done")
