"""Run one test class on one executor: ``python -m cpython LocalExecutor WaitTest report``.

The report has a line ``[test, outcome, text, seconds]`` for each test, and one for ``all``
when they have been run.  A run that takes longer than ``LIMIT_SECONDS`` ends before that,
with the stacks of all threads on stderr.
"""

from __future__ import annotations

import faulthandler
import glob
import json
import os
import sys
import time
import unittest
from typing import Any, TextIO

from test import support

from cpython.adapted import adapted
from cpython.suite import CLASSES, EXCLUDED, ClusterMixin

LIMIT_SECONDS = 200.0


class _Result(unittest.TestResult):
    """Writes a line for each test."""

    def __init__(self, report: TextIO) -> None:
        super().__init__()
        self._report = report
        self._began = 0.0

    def write(self, test: str, outcome: str, text: str = "") -> None:
        print(
            json.dumps((test, outcome, text, round(time.monotonic() - self._began, 2))), file=self._report, flush=True
        )

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._began = time.monotonic()

    def _add(self, test: unittest.TestCase, outcome: str, text: str = "") -> None:
        self.write(test.id().rpartition(".")[2], outcome, text)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._add(test, "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._add(test, "skipped", reason)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._add(test, "failed", self.failures[-1][1])

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self._add(test, "failed", self.errors[-1][1])

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._add(test, "failed", (self.failures + self.errors)[-1][1])


def main() -> None:
    """Run the tests whose names hold the last argument, if there is one; all without it."""
    executor, kind, path, *only = sys.argv[1:]
    support.verbose = False
    case = CLASSES[kind]
    ClusterMixin.executor_type = adapted(executor)
    faulthandler.dump_traceback_later(LIMIT_SECONDS, exit=True)
    with open(path, "w") as report:
        result = _Result(report)
        for name in unittest.defaultTestLoader.getTestCaseNames(case):
            if f"{kind}.{name}" not in EXCLUDED and "".join(only) in name:
                case(name).run(result)
        left = glob.glob(os.path.join(os.environ["CLUSTERFUTURES_DIR"], "*", "*"))
        result.write("all", "failed" if left else "passed", f"of {result.testsRun}; runs that are left: {left}")
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
