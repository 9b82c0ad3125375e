"""`watch` without a screen: the plain frame, JSON, and what is imported for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui import scripted

IMPORTED = "import sys, thermotui.cli.main as m\ntry: m.main()\nfinally: print(sorted(sys.modules), file=sys.stderr)"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "thermotui", "watch", *arguments],
        capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
        env=os.environ | {"COLUMNS": "100", "PYTHONIOENCODING": "utf-8"} | environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted.scripted_log(tmp_path_factory.mktemp("watch") / "batch-10.h5")


def test_one_plain_frame(log: Path) -> None:
    result = run("--once", str(log))
    assert (result.returncode, result.stderr) == (0, "")
    assert "finished     batch-10: step 1999 of 2000" in result.stdout
    assert "heat −4.907 ± 0.050 nats" in result.stdout
    assert "stride 10" in result.stdout
    assert "step 1995:  temperature k_B T [nats]   linear0 0.0001009 ± 0.0000050" in result.stdout
    assert "critical 700–760  loss spike" in result.stdout
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_a_plain_frame_in_ascii(log: Path) -> None:
    result = run("--once", "--ascii", str(log))
    assert result.returncode == 0
    assert result.stdout.isascii(), [line for line in result.stdout.splitlines() if not line.isascii()][:3]
    assert run("--once", str(log), PYTHONIOENCODING="ascii").stdout.isascii()


@pytest.mark.parametrize(
    ("environment", "unicode"),
    [
        ({"LC_ALL": "C"}, False),
        ({"LC_ALL": "POSIX"}, False),
        ({"LANG": "C"}, False),
        ({"LANG": "C", "PYTHONCOERCECLOCALE": "0"}, False),
        ({"LC_ALL": "C", "LANG": "C.UTF-8"}, False),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, True),
        ({"LANG": "C", "PYTHONIOENCODING": "utf-8"}, True),
        ({"LANG": "C.UTF-8", "PYTHONIOENCODING": "ascii"}, False),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, True),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, True),
        ({"LANG": "C.UTF-8"}, True),
        ({}, True),
    ],
)
def test_the_locale_decides_on_ascii(log: Path, environment: dict[str, str], unicode: bool) -> None:
    decided = ("LC_ALL", "LC_CTYPE", "LANG", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONCOERCECLOCALE")
    kept = {name: value for name, value in os.environ.items() if name not in decided}
    result = subprocess.run(
        [sys.executable, "-m", "thermotui", "watch", "--once", str(log)],
        capture_output=True, timeout=60, check=True, env=kept | {"COLUMNS": "100"} | environment,
    )  # fmt: skip
    assert result.stdout.isascii() != unicode


def test_json_has_the_schemas_names_and_every_error(log: Path) -> None:
    result = run("--json", str(log))
    assert result.returncode == 0
    (found,) = json.loads(result.stdout)["runs"]
    assert (found["state"], found["step"], found["stride"], found["adds_up"]) == ("finished", 1999, 10, True)
    assert found["figures"]["heat"]["standard_error"] == pytest.approx(0.05)
    assert found["figures"]["l_info_lower"]["kind"] == "lower bound"
    assert (found["temperatures"]["step"], found["temperatures"]["unit"]) == (1995, "nats")
    last = found["temperatures"]["layers"][-1]
    assert last["layer"] == "linear3"
    assert last["standard_error"] == pytest.approx(last["value"] / 20)
    assert [alert["kind"] for alert in found["alerts"]] == ["loss_spike", "temperature_jump"]


def test_a_broken_run_beside_a_good_one_is_a_line(log: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.h5").write_bytes(b"?")
    result = run("--once", str(log), str(tmp_path))
    assert result.returncode == 0
    assert "unreadable   bad:" in result.stdout


def test_nothing_to_watch_is_said(tmp_path: Path) -> None:
    for arguments in ((str(tmp_path),), ("--once", str(tmp_path))):
        result = run(*arguments)
        assert result.returncode == 2
        assert result.stdout == ""
        assert result.stderr.startswith("thermotui: no run log")
        assert len(result.stderr.splitlines()) == 1


def test_without_a_terminal_it_says_what_to_use(log: Path) -> None:
    result = run(str(log))
    assert result.returncode == 2
    assert "--once" in result.stderr


def test_the_plain_frame_needs_neither_textual_nor_torch(log: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", IMPORTED, "watch", "--once", str(log)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    loaded = result.stderr.splitlines()[-1]
    assert "'h5py'" in loaded
    assert "'textual'" not in loaded
    assert "'torch'" not in loaded


def test_a_single_frame_delivers_what_it_tells_of(log: Path, tmp_path: Path) -> None:
    written = tmp_path / "alerts.jsonl"
    program = f"import sys; print('noise'); open({str(written)!r}, 'a').write(sys.stdin.read() + chr(10))"
    result = run("--json", str(log), "--exec", f'{sys.executable} -c "{program}"')
    assert result.returncode == 0
    assert json.loads(result.stdout)["runs"]
    assert result.stderr.splitlines() == ["noise", "noise"]
    payloads = [json.loads(line) for line in written.read_text().splitlines()]
    assert [payload["alert"]["kind"] for payload in payloads] == ["loss_spike", "temperature_jump"]
    failed = run("--once", str(log), "--exec", "/nonexistent/program")
    assert failed.returncode == 2
    assert failed.stderr.splitlines() == [
        "thermotui: --exec: cannot run '/nonexistent/program' (No such file or directory)"
    ]


def test_the_reason_that_a_failing_command_gives_is_not_swallowed(log: Path) -> None:
    program = "import sys; sys.exit('no such channel')"
    result = run("--once", str(log), "--exec", f'{sys.executable} -c "{program}"')
    assert result.returncode == 2
    assert "no such channel" in result.stderr
    assert "no such channel" not in result.stdout


def test_the_alerts_of_every_rank_are_delivered(tmp_path: Path) -> None:
    for rank, name in enumerate(("mine.h5", "mine-rank1.h5")):
        header = scripted.header("distributed", rank=rank, world_size=2)
        with scripted.RunLogWriter.create(tmp_path / name, header) as writer:
            writer.append("steps", step=10, time=1000.0, loss=1.0)
            told = {"kind": "divergence", "layer": -1, "start": 5, "end": -1, "step": 7, "severity": "critical"}
            writer.append("alerts", time=1000.0, message="the loss rises", **told)
    result = run("--json", str(tmp_path), "--exec", f'{sys.executable} -c "print(input())"')
    files = [Path(json.loads(line)["file"]).name for line in result.stderr.splitlines()]
    assert files == ["mine.h5", "mine-rank1.h5"]
