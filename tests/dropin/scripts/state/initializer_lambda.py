# better: lambdas have no name that pickle could import
"""A lambda as initializer; it fills a global of the script."""

import multiprocessing
from under_test import Executor

store = {}


def look():
    return dict(store)


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with Executor(max_workers=1, mp_context=context, initializer=lambda x: store.update(x=x), initargs=(3,)) as ex:
        assert ex.submit(look).result() == {"x": 3}
    print("done")
