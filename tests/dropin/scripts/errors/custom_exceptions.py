"""The script's own exceptions: arguments, attributes, hierarchy."""

from under_test import Executor


class AppError(Exception):
    pass


class Failed(AppError):
    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code
        self.extra = [text]


class Quiet(AppError):
    def __str__(self):
        return f"quiet {self.args}"


class Several(KeyError, AppError):
    pass


def fail(kind):
    if kind == "failed":
        raise Failed(3, "text")
    if kind == "quiet":
        error = Quiet("q")
        error.more = 5
        raise error
    if kind == "several":
        raise Several("key")
    raise AppError


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        for kind in ("failed", "quiet", "several", "none"):
            try:
                ex.submit(fail, kind).result()
            except AppError as error:
                print(type(error) in (Failed, Quiet, Several, AppError), repr(error), error, sorted(vars(error)))
