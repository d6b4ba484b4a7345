"""The traceback of the call is in the cause, with file, line and source of the script."""

import traceback
from under_test import Executor


def inner(n):
    return 10 / n  # here


def outer(n):
    return inner(n)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        error = ex.submit(outer, 0).exception()
        text = "".join(traceback.format_exception(error))
        print(
            "traceback_text.py" in text,
            f"line {inner.__code__.co_firstlineno + 1}" in text,
            "in inner" in text,
            "return 10 / n  # here" in text,
            type(error.__cause__).__name__.strip("_"),
        )
