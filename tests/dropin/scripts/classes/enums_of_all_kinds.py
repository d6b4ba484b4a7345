"""Enumerations in all their forms: aliases, combined flags, members with attributes, with values that are functions."""

import enum, functools, typing
from under_test import Executor


class Perm(enum.Flag):
    R = 1
    W = 2
    X = 4
    RW = R | W
    ALL = 7


class Al(enum.Enum):
    A = 1
    B = 2
    C = 1

    @property
    def low(self):
        return self.name.lower()


class Planet(enum.Enum):
    E = (1.0, 2.0)
    M = (3.0, 4.0)

    def __init__(self, m, r):
        self.m = m
        self.r = r

    @property
    def g(self):
        return self.m / self.r


class Coin(int, enum.Enum):
    def __new__(cls, v, label):
        o = int.__new__(cls, v)
        o._value_ = v
        o.label = label
        return o

    ONE = (1, "one")
    TWO = (2, "two")


class Ext(enum.Enum):
    def __new__(cls, *a):
        o = object.__new__(cls)
        o._value_ = len(cls.__members__) + 1
        o.args = a
        return o

    X = 5, 6
    Y = 7, 8


class Prio(enum.IntEnum):
    LOW = 1
    HIGH = 2
    __str__ = lambda s: s.name


class B(enum.IntFlag, boundary=enum.KEEP):
    A = 1
    Z = 0


class S(str, enum.Enum):
    A = "a"


class Un(enum.Enum):
    A = [1]
    B = {"x": 1}


Un.default = Un.A
Planet.E.seen = 3


class Cs(enum.Enum):
    _ignore_ = "i"
    for i in range(3):
        vars()[f"M{i}"] = i

    @classmethod
    def _missing_(cls, v):
        return cls.M0

    @staticmethod
    def st():
        return Cs.M1

    @enum.nonmember
    class Inner:
        z = 1

    const = enum.nonmember(42)


@enum.unique
class Q(enum.Enum):
    def _generate_next_value_(n, s, c, l):
        return n.lower()

    A = enum.auto()
    B = enum.auto()


@functools.total_ordering
class Ord(enum.Enum):
    S = 1
    L = 2

    def __lt__(s, o):
        return s.value < o.value


@enum.verify(enum.CONTINUOUS)
class V(enum.Enum):
    A = 1
    B = 2


class Op(enum.Enum):
    ADD = enum.member(functools.partial(max, 1))
    SUB = enum.member(lambda a, b: a - b)

    def __call__(self, *given):
        return self.value(*given)


P = typing.ParamSpec("P")
Ts = typing.TypeVarTuple("Ts")
RED = Al.A


def loc():
    class L(enum.Enum):
        A = 1
        B = A

    return L.B.name, list(L.__members__)


def w(i):
    o = [list(Perm.__members__), Perm["RW"], Perm(3), Perm.ALL, ~Perm.RW, list(Perm), len(Perm), Perm.RW.name, Perm(7)]
    o += [list(Al.__members__), Al["C"] is Al.A, Al.C.low, Al.C]
    o += [Planet.E.g, Planet.M.m, Planet((1.0, 2.0)).g, Planet.E.seen]
    o += [Coin.ONE.label, Coin(2).label, Coin.ONE + 1, [type(x.value) for x in Coin]]
    o += [
        Ext.Y.args,
        Ext(2),
        Ext.X.value,
        f"{Prio.LOW}",
        str(Prio.HIGH),
        Prio.LOW < Prio.HIGH,
        B(9),
        B.Z,
        S.A.upper(),
        Un.A.value,
        Un.default,
        Un([1]),
    ]
    o += [
        list(Cs),
        Cs(99),
        Cs.st(),
        Cs.Inner.z,
        Cs.const,
        Q.A.value,
        Ord.S < Ord.L,
        Ord.L >= Ord.S,
        V(1),
        loc(),
        Q("a"),
        repr(Q),
        hash(Q.A) == hash("A"),
        Q.A in Q,
    ]
    o += [Op.ADD(3), Op.SUB(5, 1), Op["SUB"].name, len(Op), RED is Al.C]
    return o


def back(x):
    return {"perm": Perm.RW, "coin": Coin.TWO, "op": Op, "planet": Planet.M, "list": [P, Ts], "given": x}


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        for a in ex.submit(w, 1).result():
            print(a)
        got = ex.submit(back, [Perm.ALL, Planet.E, P, Ts, Coin.ONE]).result()
        print(got["perm"] is Perm.RW, got["coin"] is Coin.TWO, got["op"] is Op, got["planet"] is Planet.M)
        print(got["list"][0] is P, got["list"][1] is Ts, got["given"] == [Perm.ALL, Planet.E, P, Ts, Coin.ONE])
