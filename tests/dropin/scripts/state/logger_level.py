"""The level that the program gave its logger holds in calls."""

import logging
from under_test import Executor

log = logging.getLogger("dropin.level")
log.setLevel(logging.DEBUG)
log.propagate = False


def enabled():
    return log.isEnabledFor(logging.DEBUG), log.propagate


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(enabled).result())
