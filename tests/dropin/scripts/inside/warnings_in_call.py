"""warnings in a call: caught, turned into errors, once per place."""

import warnings
from under_test import Executor


class OwnWarning(UserWarning):
    pass


def caught():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warnings.warn("w", OwnWarning, stacklevel=1)
    return [(str(w.message), w.category is OwnWarning) for w in told]


def error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.warn("e", OwnWarning, stacklevel=1)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(caught).result())
        try:
            ex.submit(error).result()
        except OwnWarning as w:
            print(w)
