"""Wrong values for the constructor: the same exception."""

from under_test import Executor

if __name__ == "__main__":
    for given in (
        {"max_workers": 0},
        {"max_workers": -1},
        {"initializer": 3},
        {"max_tasks_per_child": 0},
        {"max_tasks_per_child": "2"},
    ):
        try:
            Executor(**given)
        except (ValueError, TypeError) as error:
            print(type(error).__name__, error)
        else:
            print("no error", given)
    try:
        Executor(no_such_option=1)
    except (ValueError, TypeError):
        print("refused")
