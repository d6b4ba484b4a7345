"""__main__ inside a call: its names, its file, its name, the arguments of the program."""

import os, sys
from under_test import Executor

SETTING = 3


class Thing:
    pass


def look():
    import __main__

    return (
        __main__.SETTING,
        __main__.Thing is Thing,
        os.path.basename(__main__.__file__),
        __name__,
        sys.modules["__main__"].look is look,
    )


def arguments():
    return sys.argv[1:], os.path.basename(sys.argv[0]), os.path.basename(__file__)


def change():
    import __main__

    __main__.SETTING = 5
    return SETTING


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(
            ex.submit(arguments).result(),
            ex.submit(look).result(),
            ex.submit(change).result(),
            ex.submit(look).result()[0],
        )
