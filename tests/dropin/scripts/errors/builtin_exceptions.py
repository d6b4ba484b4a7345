"""Built-in exceptions keep what they hold."""

from under_test import Executor


def fail(n):
    if n == 0:
        open("/no/such/file")
    if n == 1:
        b"\xff".decode()
    if n == 2:
        {}["key"]
    if n == 3:
        compile("1 +", "name", "exec")
    if n == 4:
        raise StopIteration(5)
    if n == 5:
        assert n < 5, "too big"
    if n == 6:
        return [][1]
    if n == 7:
        return missing_name
    if n == 8:
        return None.attribute
    if n == 9:
        import no_such_module
    if n == 10:
        raise MemoryError("m")
    if n == 11:
        raise TimeoutError("t")


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        for n in range(12):
            error = ex.submit(fail, n).exception()
            print(
                type(error).__name__,
                error,
                error.args,
                getattr(error, "errno", ""),
                getattr(error, "filename", ""),
                getattr(error, "name", ""),
            )
