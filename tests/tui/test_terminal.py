"""The whole program in a terminal: colours, characters, bytes sent, ending."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tui import scripted
from tests.tui.terminal import watching

RICH_COLOUR = re.compile(rb"\x1b\[[0-9;:]*[34]8[;:][25][0-9;:]*m")
SOME_COLOUR = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|9[0-7]|4[0-7]|10[0-7])m")


def test_sixteen_colours_and_ascii_at_80_by_24(finished: Path) -> None:
    with watching(str(finished), "--ascii", "--fresh", TERM="xterm") as terminal:
        terminal.wait_for("batch-10")
        terminal.wait_for("loss spike")
        terminal.read(0.5)
        for view in "1345672":
            terminal.press(view)
            terminal.read(0.4)
        terminal.wait_for("dashboard")
        assert not RICH_COLOUR.search(terminal.raw)
        assert SOME_COLOUR.search(terminal.raw)
        drawn = re.sub(rb"\x1b(?:\[[0-9;:?<>=]*[a-zA-Z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[=>])", b"", bytes(terminal.raw))
        assert not [byte for byte in drawn if byte > 126]
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_no_color_sends_no_colour(finished: Path) -> None:
    with watching(str(finished), "--fresh", NO_COLOR="1", COLORTERM="truecolor") as terminal:
        terminal.wait_for("loss spike")
        terminal.read(0.5)
        greys = set(re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", terminal.raw))
        assert greys and all(len(set(grey)) == 1 for grey in greys), greys
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_the_terminal_is_left_as_it_was(finished: Path) -> None:
    with watching(str(finished), "--fresh") as terminal:
        terminal.wait_for("batch-10")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    for mode, on, off in ((b"1049", b"h", b"l"), (b"25", b"l", b"h"), (b"1000", b"h", b"l")):
        sent = terminal.raw
        assert sent.rfind(b"\x1b[?" + mode + off) > sent.find(b"\x1b[?" + mode + on) >= 0


def test_views_are_remembered(finished: Path) -> None:
    with watching(str(finished)) as terminal:
        terminal.wait_for("dashboard")
        terminal.press("4")
        terminal.wait_for("adds up")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    with watching(str(finished)) as terminal:
        terminal.wait_for("adds up")


def test_a_new_alert_runs_a_command_and_what_fails_is_said_on_the_screen_and_after_it(tmp_path: Path) -> None:
    writer = scripted.live_log(tmp_path / "live.h5", rows=300)
    scripted.write_alert(writer, "loss_spike", -1, 100, 120)
    writer.flush()
    written = tmp_path / "alerts.jsonl"
    program = tmp_path / "act.py"
    program.write_text(
        f"import sys; print('drawn over'); open({str(written)!r}, 'a').write(sys.stdin.read() + chr(10)); sys.exit(3)"
    )
    command = f"{sys.executable} {program}"
    with watching(str(tmp_path / "live.h5"), "--fresh", "--interval", "0.2", "--exec", command) as terminal:
        terminal.wait_for("loss spike")
        scripted.write_rows(writer, 300, 400, start_time=time.time())
        scripted.write_alert(writer, "divergence", -1, 390, None, severity="critical")
        writer.heartbeat(399)
        writer.flush()
        terminal.wait_for("--exec:")  # what follows is broken into lines according to how long a path it names
        assert b"drawn over" not in terminal.raw
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    (payload,) = [json.loads(line) for line in written.read_text().splitlines()]
    assert payload["alert"]["kind"] == "divergence"
    assert terminal.raw.rstrip().endswith(b"ended with status 3")
    writer.close("finished")


def test_low_bandwidth_and_quiet_when_nothing_changes(finished: Path) -> None:
    with watching(str(finished), "--low-bandwidth", "--fresh") as terminal:
        terminal.wait_for("loss spike")
        terminal.wait_for_silence(6.0, seconds=40)
        assert b"\x1b[?1000h" not in terminal.raw


@pytest.mark.parametrize(("age", "planned"), [(1500, 2000), (400, 2000), (400, 0)])
def test_bytes_a_second_on_a_live_run(age: int, planned: int, tmp_path: Path) -> None:
    path = tmp_path / "live.h5"
    writer = scripted.live_log(path, rows=age, steps=planned)
    with watching(str(path), "--fresh", columns=160, lines=48) as terminal:
        terminal.wait_for("running")
        terminal.wait_for_silence(0.7, seconds=20)
        step, began, sent = age, time.monotonic(), 0
        for _ in range(8):
            scripted.write_rows(writer, step, step + 40, start_time=time.time() - step * 0.01)
            step += 40
            writer.heartbeat(step - 1)
            writer.flush()
            sent += terminal.read(0.9)
        rate = sent / (time.monotonic() - began)
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    writer.close()
    print(f"{rate:.0f} bytes a second")
    assert 0 < rate < 2000, rate


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nothing.h5", None, "no such file"),
        ("words.h5", b"hello", "is not a run log"),
        ("empty", "directory", "no run log"),
    ],
)
def test_one_sentence_and_status_2(tmp_path: Path, name: str, content: object, said: str) -> None:
    path = tmp_path / name
    if content == "directory":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with watching(str(path)) as terminal:
        status = terminal.wait_for_end()
    assert status == 2
    # The terminal breaks lines where its width ends, also within a word.
    text = "".join(terminal.text.split())
    assert said.replace(" ", "") in text
    assert "Traceback" not in text
    assert b"\x1b[?1049h" not in terminal.raw


def test_a_dumb_terminal_gets_a_sentence_and_no_escape_sequence(finished: Path) -> None:
    with watching(str(finished), TERM="dumb") as terminal:
        assert terminal.wait_for_end() == 2
    assert b"--once" in terminal.raw
    assert b"\x1b" not in terminal.raw


def test_a_killed_writer_is_said_and_every_flushed_row_shown(tmp_path: Path) -> None:
    path = tmp_path / "killed.h5"
    script = (
        "import os, socket, time; from pathlib import Path; from tests.tui.scripted import live_log\n"
        f"path = Path({str(path)!r})\n"
        "writer = live_log(path, rows=300, host=socket.gethostname(), pid=os.getpid())\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        with watching(str(path), "--fresh", columns=120) as terminal:
            terminal.wait_for("running 299")
            process.send_signal(signal.SIGKILL)
            process.wait()
            terminal.wait_for("crashed 299", seconds=30)
            terminal.press("q")
            assert terminal.wait_for_end() == 0
