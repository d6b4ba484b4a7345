"""Loggers that functions name: level, handlers, records that a call collects."""

import logging
from under_test import Executor

log = logging.getLogger("dropin")


class Collect(logging.Handler):
    def __init__(self):
        super().__init__()
        self.told = []

    def emit(self, record):
        self.told.append(record.getMessage())


def work(n):
    handler = Collect()
    log.addHandler(handler)
    log.setLevel("INFO")
    log.info("item %d", n)
    log.debug("not this")
    log.removeHandler(handler)
    return handler.told, log.name


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(work, 3).result(), list(ex.map(work, range(2))))
