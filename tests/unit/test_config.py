"""The configuration: which layer wins, what is said about mistakes, and what writing keeps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from clusterfutures import config
from clusterfutures.cluf import rcfile
from clusterfutures.errors import OptionError
from clusterfutures.executors import LocalExecutor, _layered
from clusterfutures.options import config_file


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The site's and the user's file, neither of them there yet."""
    site, user = tmp_path / "site.toml", tmp_path / "home" / "config.toml"
    user.parent.mkdir()
    monkeypatch.setenv("CLUSTERFUTURES_SITE_CONFIG", str(site))
    monkeypatch.setenv("CLUSTERFUTURES_CONFIG", str(user))
    return site, user


def test_without_files_nothing_is_set(files: tuple[Path, Path]) -> None:
    assert config.load().options() == {}
    assert config.get_profiles() == {}


def test_each_layer_wins_over_those_below(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    site, user = files
    site.write_text('memory = "1GB"\naccount = "site"\ntime = "1h"\nqos = "a"\ncores = 1\n')
    assert config.load().options()["account"] == "site"
    user.write_text('account = "user"\nwalltime = "2h"\nqos = "b"\ncores = 2\n[profile.big]\nqos = "d"\ncpus = 4\n')
    monkeypatch.setenv("CLUSTERFUTURES_TIME", "3h")
    monkeypatch.setenv("CLUSTERFUTURES_QOS", "c")
    monkeypatch.setenv("CLUSTERFUTURES_CPUS", "3")
    assert config.load().options("big") == {
        "memory": "1GB", "account": "user", "time": "3h", "qos": "d", "cores": 4,
    }  # fmt: skip
    given, resources = _layered({"keep": None}, {"ncpus": 5}, "big")
    assert given == {}
    assert resources == {"memory": 1024, "account": "user", "time": 10800, "qos": "d", "cores": 5}


def test_a_resource_that_the_call_sets_to_none_is_not_asked_for(files: tuple[Path, Path]) -> None:
    files[1].write_text('memory = "1GB"\nexclusive = true\n')
    assert _layered({}, {"mem": None, "exclusive": False}, None)[1] == {}


def test_the_users_profile_wins_over_the_sites_key_by_key(files: tuple[Path, Path]) -> None:
    site, user = files
    site.write_text('[profile.large]\ncores = 8\ntime = "1h"\n')
    user.write_text("[profile.large]\ncores = 16\n")
    assert config.get_profile("large") == {"cores": 16, "time": "1h"}


def test_profiles_inherit_default_or_the_one_they_name(files: tuple[Path, Path]) -> None:
    files[1].write_text(
        '[profile.default]\nmemory = "1GB"\ncores = 1\n[profile.large]\ncores = 16\n'
        '[profile.long]\ninherits = "large"\ntime = "4-0"\n'
    )
    assert config.get_profile() == {"memory": "1GB", "cores": 1}
    assert config.get_profile("long") == {"memory": "1GB", "cores": 16, "time": "4-0"}
    assert config.load().options() == {"memory": "1GB", "cores": 1}


def test_the_environment_chooses_a_profile(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    files[1].write_text("[profile.large]\ncores = 16\n")
    monkeypatch.setenv("CLUSTERFUTURES_PROFILE", "large")
    assert config.load().options() == {"cores": 16}


@pytest.mark.parametrize(
    ("text", "profile", "said"),
    [
        ('# mine\nmemroy = "1GB"\n', None, ["config.toml:2:", "memroy", "write memory='4GB', not memroy"]),
        ('\n[profile.large]\nwaltime = "1h"\n', None, ["config.toml:3:", "write walltime, not waltime"]),
        ("[profile.large]\n\ntime = 60\n", None, ["config.toml:3:", "time=60", "'60m' is minutes"]),
        ("keep = 'perhaps'\n", None, ["config.toml:1:", "keep = 'perhaps'", "Expected true or false"]),
        ("scheduler = 'lsf'\n", None, ["config.toml:1:", "one of slurm, pbs, local"]),
        ("cores = 1\ncpus = 2\n", None, ["config.toml:2:", "cpus is cores", "config.toml:1"]),
        ("cores = \n", None, ["config.toml:1:", "no TOML"]),
        ("[profile]\nlarge = 3\n", None, ["config.toml:2:", "[profile.NAME]"]),
        ("profile = 3\n", None, ["config.toml:1:", "[profile.NAME]"]),
        ("[profile.large]\ncores = 2\n", "lareg", ["no profile 'lareg'", "Did you mean 'large'?"]),
        ("[profile.a]\ninherits = 'c'\n", "a", ["config.toml:2:", "no profile 'c'"]),
        ("[profile.a]\ninherits = 'b'\n[profile.b]\ninherits = 'a'\n", "a", ["a -> b -> a"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(
    files: tuple[Path, Path], text: str, profile: str | None, said: list[str]
) -> None:
    files[1].write_text(text)
    with pytest.raises(OptionError) as caught:
        config.load().options(profile)
    for words in said:
        assert words in str(caught.value)


def test_check_finds_everything_at_once(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    files[0].write_text("coers = 1\n")
    files[1].write_text("time = 5\n[profile.a]\nmemory = []\n")
    monkeypatch.setenv("CLUSTERFUTURES_MEMORY", "lots")
    found = config.problems()
    assert len(found) == 4
    assert any("$CLUSTERFUTURES_MEMORY" in text for text in found)


def test_cores_of_a_job_are_no_setting(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERFUTURES_CORES", "2")
    assert config.load().options() == {"cores": "2"}
    monkeypatch.setenv("CLUSTERFUTURES_JOB_ID", "17")
    assert config.load().options() == {}


def test_writing_keeps_comments_and_order(files: tuple[Path, Path]) -> None:
    user = files[1]
    user.write_text('# mine\nmemory = "1GB"  # enough\n\n[profile.large]\nmodules = [\n  "a",\n  "b",\n]\n# end\n')
    config.set_option("cpus", 2)
    config.set_profile("large", modules=["c"], time="1h")
    config.set_profile("new", env={"A_B": 'x"y\n'}, memory="2GB")
    config.set_option("memory", None)
    assert user.read_text() == (
        '# mine\ncores = 2\n\n[profile.large]\nmodules = ["c"]\n# end\ntime = "1h"\n\n'
        '[profile.new]\nenv = {A_B = "x\\"y\\n"}\nmemory = "2GB"\n'
    )
    assert config.get_profile("new") == {"env": {"A_B": 'x"y\n'}, "memory": "2GB"}
    config.delete_profile("large")
    assert list(config.get_profiles()) == ["new"]
    with pytest.raises(OptionError, match="Did you mean 'new'"):
        config.delete_profile("nwe")
    config.delete_profile("new")  # the last one
    assert config.get_profiles() == {}
    assert user.read_text() == "# mine\ncores = 2\n\n"
    user.write_text("[profile]\n[profile.only]\ncores = 2\n")
    config.delete_profile("only")
    assert config.get_profiles() == {}
    config.set_profile("only", cores=3)
    assert config.get_profile("only") == {"cores": 3}


def test_a_wrong_value_is_not_written(files: tuple[Path, Path]) -> None:
    with pytest.raises(OptionError, match="a unit is needed"):
        config.set_profile("large", cores=2, time=3)
    assert not files[1].exists()


def test_a_layout_that_lines_cannot_follow_is_refused_and_left(files: tuple[Path, Path]) -> None:
    text = "profile = {large = {cores = 2}}\n"
    files[1].write_text(text)
    with pytest.raises(OptionError, match="edit the file by hand"):
        config.set_profile("large", cores=3)
    assert files[1].read_text() == text


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.toml")
    with pytest.raises(OptionError, match="no plain file"):
        config_file.change(str(tmp_path / "config.toml"), (), "cores", 2)


def test_a_link_stays_a_link(files: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.toml"
    target.write_text("cores = 1\n")
    files[1].symlink_to(target)
    config.set_option("cores", 2)
    assert files[1].is_symlink()
    assert target.read_text() == "cores = 2\n"


def test_programs_that_write_at_the_same_time_lose_nothing(files: tuple[Path, Path]) -> None:
    code = (
        "import sys; from clusterfutures import config\n"
        "for i in range(10): config.set_profile(f'p{sys.argv[1]}{i}', cores=1)"
    )
    programs = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(3)]
    assert [program.wait(30) for program in programs] == [0, 0, 0]
    assert len(config.get_profiles()) == 30


def test_a_lock_that_is_held_is_said(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setattr(config_file, "_LOCK_SECONDS", 0.1)
    with FileLock(f"{files[1]}.lock"), pytest.raises(OptionError, match="locked by another program"):
        config.set_option("cores", 2)


def test_an_executor_takes_its_profile(files: tuple[Path, Path], tmp_path: Path) -> None:
    files[1].write_text(
        "[profile.two]\nmax_workers = 2\nidle_timeout = 5\nmemory = '1GB'\nname = 'fit'\n"
        f"directory = '{tmp_path}/runs'\n"
    )
    with LocalExecutor(profile="two", idle_timeout=1.0) as ex:
        assert ex._max_workers == 2
        assert (ex._client.settings.idle_timeout, ex._client.settings.name) == (1.0, "fit")
        assert ex._resources == {"memory": 1024}
        assert ex.submit(pow, 2, 5).result(60) == 32
    with pytest.raises(OptionError, match="Did you mean 'two'"):
        LocalExecutor(profile="tow")


def test_a_setting_keeps_the_name_that_it_has_in_the_file(files: tuple[Path, Path]) -> None:
    user = files[1]
    user.write_text('mem = "1GB"\n[profile.long]\nwalltime = "1h"\n')
    config.set_option("memory", "2GB")
    config.set_profile("long", time="2h")
    assert user.read_text() == 'mem = "2GB"\n[profile.long]\nwalltime = "2h"\n'
    config.set_option("memory", None)
    assert user.read_text() == '[profile.long]\nwalltime = "2h"\n'


# ------------------------------------------------------------------------- whose words


@pytest.mark.parametrize("which", [0, 1], ids=["site", "user"])
@pytest.mark.parametrize("mode", [0o666, 0o602, 0o622])
def test_a_file_that_others_may_write_is_refused(files: tuple[Path, Path], which: int, mode: int) -> None:
    files[which].write_text("cores = 3\n")
    files[which].chmod(mode)
    with pytest.raises(OptionError, match=rf"others may write it \(mode {mode:o}\).*chmod go-w {files[which]}"):
        LocalExecutor(max_workers=1)
    files[which].chmod(0o644)
    assert config.load().options() == {"cores": 3}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    files[1].write_text("cores = 3\n")
    os.chown(files[1], 65534, 65534)
    with pytest.raises(OptionError, match=r"it belongs to user 65534.*name another file"):
        config.load()
    with pytest.raises(OptionError, match="it belongs to user 65534"):
        config.set_option("cores", 4)
    rc = tmp_path / "rc"
    rc.write_text("{}")
    os.chown(rc, 65534, 65534)
    with pytest.raises(OptionError, match="it belongs to user 65534"):
        rcfile.read(str(rc))


def test_a_file_in_a_group_of_ones_own_is_nobody_elses(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the umask is 002, each user has a group; the same mode in a group of several is refused."""
    group = SimpleNamespace(gr_name="me", gr_mem=[])
    monkeypatch.setattr("pwd.getpwuid", lambda uid: SimpleNamespace(pw_name="me", pw_gid=os.getegid()))
    monkeypatch.setattr("grp.getgrgid", lambda gid: group)
    monkeypatch.setattr("os.geteuid", lambda: os.stat(files[1].parent).st_uid or 1000)
    files[1].write_text("cores = 3\n")
    files[1].chmod(0o664)
    assert config.load().options() == {"cores": 3}
    group.gr_mem.append("somebody")
    with pytest.raises(OptionError, match="others may write it"):
        config.load()


def test_what_is_no_file_is_nobodys(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERFUTURES_CONFIG", "/dev/null")
    assert config.load().options() == {}
