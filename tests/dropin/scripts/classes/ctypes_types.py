"""ctypes: unions, arrays, pointers to itself, callbacks, packed and big-endian structures; as arguments and results."""

import ctypes
from under_test import Executor


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_int)]

    def norm(self):
        return abs(self.x) + abs(self.y)


class Line(ctypes.Structure):
    _fields_ = [("ends", Point * 2), ("width", ctypes.c_double)]


class Either(ctypes.Union):
    _fields_ = [("number", ctypes.c_uint32), ("bytes", ctypes.c_ubyte * 4)]


class Packed(ctypes.BigEndianStructure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("kind", ctypes.c_uint8), ("size", ctypes.c_uint32)]


class Bits(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint8, 3), ("high", ctypes.c_uint8, 5)]


class Tagged(ctypes.Structure):
    _anonymous_ = ("either",)
    _fields_ = [("either", Either), ("tag", ctypes.c_int)]


class Node(ctypes.Structure):
    pass


Node._fields_ = [("value", ctypes.c_int), ("next", ctypes.POINTER(Node))]


class Deep(Point):
    _fields_ = [("z", ctypes.c_int)]


class Celsius(ctypes.c_double):
    pass


Compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
Numbers = ctypes.c_int * 3


def move(point, by):
    return Point(point.x + by, point.y + by)


def length(line):
    return line.ends[0].norm() + line.ends[1].norm() + line.width


def look(n):
    either = Either(n)
    packed = Packed(1, n)
    bits = Bits(n % 8, n % 32)
    tagged = Tagged()
    tagged.number, tagged.tag = n, 1
    first = Node(1)
    second = Node(2, ctypes.pointer(first))
    return (
        list(either.bytes), bytes(packed), ctypes.sizeof(Packed), (bits.low, bits.high), tagged.bytes[0],
        second.next.contents.value, Deep(1, 2, 3).z, Celsius(1.5).value,
        Compare(lambda x: x + 1)(n), list(Numbers(1, 2, n)), len(ctypes.create_string_buffer(n)),
    )  # fmt: skip


def kinds(kind, cls):
    return kind(7).value, cls(1, 2).norm()


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        moved = ex.submit(move, Point(1, 2), 3).result()
        print(type(moved) is Point, moved.x, moved.y, moved.norm())
        print(ex.submit(length, Line((Point * 2)(Point(1, 1), Point(2, 2)), 0.5)).result())
        print(ex.submit(look, 5).result(), ex.submit(kinds, ctypes.c_long, Point).result())
        print([point.x for point in ex.map(move, [Point(n, n) for n in range(3)], range(3))])
