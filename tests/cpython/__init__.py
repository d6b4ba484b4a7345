"""CPython's own tests of executors, run on ours: a program of its own, for any Python that has them.

    test_cpython.py --starts--> python -m cpython EXECUTOR CLASS REPORT
                                    |
        sources.py   where this Python keeps its tests
        adapted.py   our executors, with what the tests take for granted of a process pool
        suite.py     the test classes, and the table of what is left out and why
        __main__.py  runs one class and writes a report

Nothing here imports pytest or anything else that is not the standard library's or ours.
"""
