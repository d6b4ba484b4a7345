"""Values of the standard library as arguments and results."""

import array, collections, datetime, decimal, fractions, ipaddress, pathlib, re, uuid, zoneinfo
from under_test import Executor

VALUES = [
    None,
    True,
    3,
    2.5,
    1j,
    "text",
    b"bytes",
    bytearray(b"x"),
    (1, [2, {3: {4}}]),
    frozenset([1]),
    range(3),
    slice(1, 2),
    ...,
    datetime.datetime(2020, 1, 1, 1, 1, fold=1),
    datetime.timedelta(1),
    decimal.Decimal("1.1"),
    fractions.Fraction(1, 3),
    pathlib.PurePosixPath("a"),
    uuid.UUID(int=1),
    re.compile("a+"),
    collections.deque([1], maxlen=3),
    collections.Counter("ab"),
    array.array("d", [1.5]),
    ipaddress.ip_address("::1"),
    float("inf"),
    -0.0,
    2**100,
    "\udcff\x00",
    int,
    len,
    NotImplemented,
    list[int],
    zoneinfo.ZoneInfo("UTC"),
]


def same(value):
    return value


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        back = list(ex.map(same, VALUES))
        print(
            back == VALUES,
            [type(a) is type(b) for a, b in zip(back, VALUES)].count(False),
            ex.submit(same, float("nan")).result(),
        )
        print(len(ex.submit(same, "x" * 3_000_000).result()), ex.submit(same, [b"y" * 2_000_000] * 2).result()[1][:2])
