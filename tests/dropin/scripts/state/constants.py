"""Constants that the module computes when it begins: patterns, paths, dates, sets, nested tables."""

import datetime, decimal, fractions, pathlib, re, uuid
from under_test import Executor

PATTERN = re.compile(r"(\w+)=(\d+)")
ROOT = pathlib.Path("/data")
START = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
STEP = datetime.timedelta(hours=1)
PRICE = decimal.Decimal("1.10")
HALF = fractions.Fraction(1, 2)
NAME = uuid.UUID(int=5)
TABLE = {("a", 1): {frozenset([1]): [None, ..., NotImplemented]}}
RANGE = range(1, 9, 2)


def parsed(text):
    return PATTERN.match(text).groups()


def placed(n):
    return str(ROOT / f"{n}.csv"), (START + n * STEP).isoformat(), PRICE * n, HALF * n, NAME


def table():
    return TABLE[("a", 1)][frozenset([1])], RANGE[1], 3 in RANGE


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(parsed, "a=1").result(), ex.submit(placed, 3).result(), ex.submit(table).result())
