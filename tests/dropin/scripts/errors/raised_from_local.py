"""Exceptions with tricky text: empty, several lines, non-ASCII, surrogates, percent signs."""

from under_test import Executor


def fail(text):
    raise ValueError(text)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        for text in ("", "a\nb", "größer 例", "\udcff", "%s %d {}", "x" * 100000):
            error = ex.submit(fail, text).exception()
            print(error.args == (text,), ascii(str(error))[:40])
