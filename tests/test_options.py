"""Options: synonyms, units, refusals, and how each scheduler spells them."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from clusterfutures.errors import OptionError
from clusterfutures.options.table import KEYWORDS, option_help, option_table
from clusterfutures.schedulers import by_name, options
from clusterfutures.schedulers.options import OPTIONS, normalise, spell


def words(dialect: str, **given: Any) -> list[str]:
    return [text for _, text in spell(normalise(given), dialect)]


# ------------------------------------------------------------------------- the table


def test_every_name_and_synonym_is_declared_once() -> None:
    names = [name for row in OPTIONS for name in (row.name, *row.synonyms)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.name)
def test_the_example_of_each_row_is_accepted_and_can_be_spelt(row: options.Option) -> None:
    given = eval(f"dict({row.example})")
    kept = normalise(given)
    assert list(kept) == [row.name]
    if row.name != "extra":
        assert spell(kept, "slurm")[0][0] is row


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.name)
def test_help_shows_every_row(row: options.Option) -> None:
    line = next(line for line in option_help().splitlines() if line.startswith(f"{row.name} "))
    assert row.text in line
    assert all(synonym in line for synonym in row.synonyms)


def test_synonyms_of_the_programs_this_one_takes_over_from() -> None:
    assert normalise({"cpus": 3}) == normalise({"threads": 3}) == {"cores": 3}
    assert normalise({"mem": 4000}) == {"memory": 4000}
    assert normalise({"walltime": "1h"}) == {"time": 3600}
    assert normalise({"queue": "long"}) == {"partition": "long"}


# ----------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("given", "mib"),
    [("4GB", 4096), ("4gb", 4096), ("4G", 4096), ("4GiB", 4096), ("500M", 500), ("1.5GB", 1536), (".5G", 512),
     ("0.1GB", 103), ("1T", 1048576), ("1024K", 1), ("1025K", 2), ("1K", 1), (4000, 4000), ("4000", 4000),
     ("2 GB", 2048)],
)  # fmt: skip
def test_memory(given: Any, mib: int) -> None:
    assert normalise({"memory": given}) == {"memory": mib}


@pytest.mark.parametrize(
    "given", ["12zz", "", "GB", "-4G", 0, "0", "0G", -1, 1.5, "1.5", True, None.__class__, "4G\n5", "4B"]
)
def test_bad_memory(given: Any) -> None:
    with pytest.raises(OptionError, match=r"memory=.*'4GB'"):
        normalise({"memory": given})


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("2:00:00", 7200), ("30:00", 1800), ("1-12", 129600), ("1-12:30", 131400), ("1-12:30:00", 131400),
     ("1-00:00:01", 86401), ("30m", 1800), ("2h", 7200), ("90s", 90),
     ("1d12h", 129600), ("1.5h", 5400),
     ("1h 30m", 5400), ("100:00:00", 360000), (datetime.timedelta(hours=3), 10800),
     (datetime.timedelta(seconds=0.2), 1)],
)  # fmt: skip
def test_time(given: Any, seconds: int) -> None:
    assert normalise({"time": given}) == {"time": seconds}


@pytest.mark.parametrize("given", [30, "30", 1.5, "abc", "1:2:3:4", "", "0:00:00", "0s", datetime.timedelta(-1), True])
def test_bad_time(given: Any) -> None:
    with pytest.raises(OptionError, match=r"time=.*'H:M:S'"):
        normalise({"time": given})


def test_a_bare_number_is_no_time_because_schedulers_read_it_differently() -> None:
    with pytest.raises(OptionError, match="'30m' is minutes, '30s' is seconds"):
        normalise({"time": 30})


@pytest.mark.parametrize("given", [0, -1, 1.5, "x", True, "1.5", ""])
def test_bad_count(given: Any) -> None:
    with pytest.raises(OptionError, match=r"cores=.*whole number"):
        normalise({"cores": given})


def test_counts_may_come_as_text() -> None:
    assert normalise({"cores": "4", "nodes": " 2 "}) == {"cores": 4, "nodes": 2}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (2, "2"), ("2", "2"), ("a100:2", "a100:2"), ("a100", "a100:1"), ("gpu:2", "2"), ("gpu:a100:2", "a100:2"),
        ("3090:8", "3090:8"), ("2080ti", "2080ti:1"), ("1g.10gb:1", "1g.10gb:1"), ("1g.10gb", "1g.10gb:1"),
        ("gpu:2080ti", "2080ti:1"), ("gpu:3090:2", "3090:2"), ("nvidia_a100_3g.20gb:4", "nvidia_a100_3g.20gb:4"),
    ],
)  # fmt: skip
def test_gpus(given: Any, kept: str) -> None:
    assert normalise({"gpus": given}) == {"gpus": kept}


def test_no_gpus_are_not_asked_for() -> None:
    # an empty --gres= is an error from Slurm 21.08 on
    assert normalise({"gpus": 0}) == {}


@pytest.mark.parametrize("given", [-1, 1.5, True, "a100:", ":2", "a b:2", "", "3090", 3090, "2:a100", "a:b:2"])
def test_bad_gpus(given: Any) -> None:
    with pytest.raises(OptionError, match="gpus="):
        normalise({"gpus": given})


def test_features() -> None:
    assert normalise({"features": "a"}) == {"features": ["a"]}
    assert normalise({"features": "a,b"}) == {"features": ["a", "b"]}
    assert normalise({"features": ["a", "b|c"]}) == {"features": ["a", "b|c"]}
    assert normalise({"features": []}) == {}
    with pytest.raises(OptionError, match="features="):
        normalise({"features": 3})


def test_exclusive() -> None:
    assert normalise({"exclusive": True}) == normalise({"exclusive": "yes"}) == {"exclusive": True}
    assert normalise({"exclusive": False}) == {}
    with pytest.raises(OptionError, match="exclusive="):
        normalise({"exclusive": "perhaps"})


def test_begin() -> None:
    when = datetime.datetime(2031, 5, 1, 18, 0)
    assert normalise({"begin": when}) == {"begin": "2031-05-01T18:00:00"}
    assert normalise({"begin": "now+1hour"}) == {"begin": "now+1hour"}


def test_begin_is_local_time_for_every_scheduler() -> None:
    when = datetime.datetime(2031, 5, 1, 18, 0, tzinfo=datetime.UTC)
    local = when.astimezone().replace(tzinfo=None)
    assert normalise({"begin": when}) == {"begin": local.isoformat()}


def test_extra() -> None:
    assert normalise({"extra": "--reservation='a b' -v"}) == {"extra": ["--reservation=a b", "-v"]}
    assert normalise({"extra": ["--reservation=a b"]}) == {"extra": ["--reservation=a b"]}
    with pytest.raises(OptionError, match="extra="):
        normalise({"extra": [1]})
    with pytest.raises(OptionError, match="extra="):
        normalise({"extra": "unbalanced '"})


@pytest.mark.parametrize("name", ["partition", "account", "qos", "features", "extra", "begin"])
@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\x00b", "a\x1bb", "a\x7fb"])
def test_control_characters_never_reach_a_directive(name: str, bad: str) -> None:
    with pytest.raises(OptionError, match=f"{name}="):
        normalise({name: [bad]} if name == "extra" else {name: bad})


# ------------------------------------------------------------------------- refusals


def test_unknown_name_tells_what_to_write() -> None:
    with pytest.raises(OptionError) as caught:
        normalise({"memroy": "4G"})
    assert "write memory='4GB', not memroy" in str(caught.value)


def test_one_option_under_two_names() -> None:
    with pytest.raises(OptionError, match="mem= and memory= are the same option"):
        normalise({"mem": 1, "memory": 2})


def test_none_means_not_given() -> None:
    assert normalise({"mem": None, "memory": 2, "time": None}) == {"memory": 2}


def test_the_error_shows_what_was_given_expected_and_an_example() -> None:
    with pytest.raises(OptionError) as caught:
        normalise({"mem": "lots"})
    assert "mem='lots'" in str(caught.value)
    assert "for example memory='4GB'" in str(caught.value)


# -------------------------------------------------------------------------- spelling


def test_slurm() -> None:
    assert words(
        "slurm", cores=4, memory="1.5GB", time="1-12:30:00", partition="p", account="a", qos="q", gpus="a100:2",
        nodes=2, features=["x", "y"], exclusive=True, begin="now+1hour", extra="--x",
    ) == [
        "--cpus-per-task=4", "--mem=1536M", "--time=36:30:00", "--partition=p", "--account=a", "--qos=q",
        "--gres=gpu:a100:2", "--nodes=2", "--constraint=x&y", "--exclusive", "--begin=now+1hour",
    ]  # fmt: skip


def test_slurm_takes_no_decimals() -> None:
    assert words("slurm", memory="1.5G") == ["--mem=1536M"]


def test_pbs() -> None:
    assert words("pbs", cores=4, memory="1.5GB", time="1-12:30:00", partition="p", account="a", gpus=2) == [
        "select:ncpus=4", "select:mem=1536mb", "-l walltime=36:30:00", "-q p", "-A a", "select:ngpus=2",
    ]  # fmt: skip


def test_pbs_features_are_resources() -> None:
    assert words("pbs", features=["model=sky", "ssd"]) == ["select:model=sky:ssd=True"]


@pytest.mark.parametrize("dialect", ["pbs", "torque"])
def test_begin_for_pbs(dialect: str) -> None:
    assert words(dialect, begin="2031-05-01T18:00") == ["-a 203105011800.00"]
    assert words(dialect, begin="18:30") == ["-a 1830"]
    assert words(dialect, begin="203105011800.00") == ["-a 203105011800.00"]
    with pytest.raises(OptionError, match="now"):
        words(dialect, begin="now+1hour")


@pytest.mark.parametrize(
    ("dialect", "given"),
    [
        ("pbs", {"qos": "high"}),
        ("pbs", {"gpus": "a100:2"}),
        ("pbs", {"gpus": "3090:8"}),
        ("torque", {"gpus": "2080ti"}),
        ("torque", {"gpus": "a100:2"}),
        ("pbs", {"features": "a|b"}),
    ],
)
def test_what_a_scheduler_cannot_say_is_refused(dialect: str, given: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(given))):
        words(dialect, **given)


def test_unknown_scheduler() -> None:
    with pytest.raises(OptionError, match="slurm, pbs, local"):
        by_name("lsf")


def test_the_table_has_what_the_text_has() -> None:
    head, *rows = option_table()
    assert head == ("option", "also", "Slurm", "PBS Pro", "Torque", "meaning")
    assert [row[0] for row in rows] == [row.name for row in (*OPTIONS, *KEYWORDS)]
    assert ("dependencies", "--dependency=afterok:...", "-W depend=afterok:...", "-W depend=afterok:...") in [
        (row[0], *row[2:5]) for row in rows
    ]
    assert ("memory", "-l mem=...mb") in [(row[0], row[2]) for row in option_table("torque")]
    assert "partition" not in {row[0] for row in option_table("local")}
    with pytest.raises(OptionError, match="no scheduler 'lsf'"):
        option_table("lsf")
    assert ("partition", "queue", "--partition=...", "-q ...", "-q ...") in [row[:5] for row in rows]
    text = option_help()
    assert all(cell in text for row in rows for cell in row)
