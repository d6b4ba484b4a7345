"""Relative paths: calls run where the program runs."""

import os
from under_test import Executor


def read(name):
    with open(name) as file:
        return file.read()


def write(name, text):
    with open(name, "w") as file:
        return file.write(text)


def where():
    return os.path.basename(os.getcwd())


if __name__ == "__main__":
    os.mkdir("work")
    os.chdir("work")
    with open("in.txt", "w") as file:
        file.write("hello")
    with Executor(max_workers=1) as ex:
        print(
            ex.submit(read, "in.txt").result(), ex.submit(write, "out.txt", "abc").result(), ex.submit(where).result()
        )
    print(read("out.txt"))
