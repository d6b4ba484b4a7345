"""Exception chains, notes and groups."""

import traceback
from under_test import Executor


class Outer(Exception):
    pass


def chained():
    try:
        1 / 0
    except ZeroDivisionError as error:
        noted = Outer("outer")
        noted.add_note("a note")
        noted.add_note("and another")
        raise noted from error


def group():
    raise ExceptionGroup("several", [ValueError(1), ExceptionGroup("inner", [Outer("x")])])


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        error = ex.submit(chained).exception()
        print(
            repr(error), error.__notes__, "ZeroDivisionError" in str(error.__cause__), "1 / 0" in str(error.__cause__)
        )
        try:
            ex.submit(group).result()
        except* Outer as several:
            print(several.exceptions[0].exceptions)
        except* ValueError as several:
            print(several.exceptions)
