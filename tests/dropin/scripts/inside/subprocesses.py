"""Programs started in a call; temporary files; output that is captured."""

import os, subprocess, sys, tempfile
from under_test import Executor


def run(text):
    return subprocess.run([sys.executable, "-c", f"print({text!r})"], capture_output=True, text=True, check=True).stdout


def shell():
    return subprocess.check_output("echo a; exit 0", shell=True)


def temporary(n):
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("x" * n)
        file.flush()
        return os.path.getsize(file.name)


def captured():
    import contextlib, io

    with contextlib.redirect_stdout(io.StringIO()) as out:
        print("inside")
    return out.getvalue()


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(
            ex.submit(run, "hi").result(),
            ex.submit(shell).result(),
            ex.submit(temporary, 5).result(),
            ex.submit(captured).result(),
        )
