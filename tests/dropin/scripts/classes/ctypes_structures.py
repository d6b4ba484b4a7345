"""ctypes structures that the script defines."""

import ctypes
from under_test import Executor


class Header(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("kind", ctypes.c_uint16)]


def size(n):
    header = Header(n, 2)
    return header.size, header.kind, ctypes.sizeof(Header)


def make(n):
    return bytes(Header(n, 1))


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(size, 5).result(), Header.from_buffer_copy(ex.submit(make, 7).result()).size)
