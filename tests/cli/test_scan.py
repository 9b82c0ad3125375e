"""`thermotui scan`: files of every kind, exit statuses, JSON, actions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from thermotui.analysis.actions import post, run_command
from thermotui.analysis.monitoring import AlertFollower
from thermotui.cli.scan import app
from thermotui.errors import InputError
from thermotui.runlog.reader import RunLogReader

SAMPLES = Path(__file__).parents[2] / "sample_runs"
RUNNER = CliRunner()


def spiky() -> np.ndarray:
    rng = np.random.default_rng(0)
    loss = 2 * (1 + np.arange(1500) / 50) ** -0.3 * np.exp(0.05 * rng.standard_normal(1500))
    loss[1000:1020] *= 2
    return np.asarray(loss)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "spiky.csv"
    rows = "\n".join(f"{10 * i},{value}" for i, value in enumerate(spiky()))
    path.write_text(f"step,loss\n{rows}\n")
    return path


def scanned(*arguments: str | Path) -> tuple[int, Any]:
    result = RUNNER.invoke(app, [*map(str, arguments), "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_a_spike_in_a_csv_is_found_at_its_step(csv: Path) -> None:
    status, found = scanned(csv)
    assert status == 1
    (alert,) = [alert for alert in found["alerts"] if alert["severity"] != "minor"]
    assert (alert["kind"], alert["start"], alert["end"]) == ("loss_spike", 10_000, 10_191)
    assert list(alert) == ["kind", "layer", "start", "end", "step", "severity", "p_value", "message"]
    assert [(i["start"], i["end"]) for i in found["valid_intervals"]] == [(0, 10_000), (10_191, 14_991)]


def test_json_lines_and_npz_say_the_same(csv: Path, tmp_path: Path) -> None:
    lines, archive = tmp_path / "spiky.jsonl", tmp_path / "spiky.npz"
    lines.write_text("\n".join(json.dumps({"_step": 10 * i, "train": {"x": v}}) for i, v in enumerate(spiky())))
    table = np.stack([10 * np.arange(1500), spiky()], axis=1)
    np.savez(archive, run=table)
    of_csv = scanned(csv)[1]["alerts"]
    of_lines = scanned(lines, "--column", "train/x")[1]["alerts"]
    of_archive = scanned(archive, "--column", "run[1]", "--step-column", "run[0]")[1]["alerts"]
    for others in (of_lines, of_archive):
        assert [(a["kind"], a["start"], a["end"]) for a in others] == [
            (a["kind"], a["start"], a["end"]) for a in of_csv
        ]


def test_empty_cells_are_left_out_and_nan_is_not(tmp_path: Path) -> None:
    path = tmp_path / "sparse.csv"
    path.write_text("step,loss,other\n0,1.5,\n1,,3\n2,nan,\n3,1.2,\n")
    _, found = scanned(path)
    assert [(a["kind"], a["start"], a["end"]) for a in found["alerts"]] == [("non_finite", 2, 3)]


@pytest.mark.parametrize("name", ["softmax-batch-100.h5", "softmax-disturbed.h5"])
def test_a_log_gives_what_the_screen_shows(name: str) -> None:
    _, found = scanned(SAMPLES / name)
    with RunLogReader(SAMPLES / name) as log:
        state = log.state()
        follower = AlertFollower(log.header)
        while not follower.follow(log, state):
            pass
        intervals = follower.valid_intervals(state.step)
    assert [(a["kind"], a["layer"], a["start"], a["end"]) for a in found["alerts"]] == [
        (a.kind, a.layer, a.start, a.end) for a in follower.alerts
    ]
    assert [(i["layer"], i["start"], i["end"]) for i in found["valid_intervals"]] == [
        (i.layer, i.start, i.end) for i in intervals
    ]


def test_the_disturbances_of_the_sample_run_are_found_to_the_step_and_nothing_else() -> None:
    status, found = scanned(SAMPLES / "softmax-disturbed.h5", "--preset", "default")
    assert status == 1
    alarms = [alert for alert in found["alerts"] if alert["severity"] != "minor"]
    for start in (1500, 2800):
        assert min(abs(alert["start"] - start) for alert in alarms) <= 20
    for alert in alarms:
        assert 1480 <= alert["start"] <= 1820 or 2780 <= alert["start"] <= 3020, alert["message"]


def test_every_interval_and_what_lies_between_has_its_gains_with_errors() -> None:
    _, found = scanned(SAMPLES / "softmax-disturbed.h5", "--preset", "default")
    with RunLogReader(SAMPLES / "softmax-disturbed.h5") as log:
        thermo = log.read("thermo")
    names = ("heat", "ep_conditional", "l_info")
    common = [interval for interval in found["valid_intervals"] if interval["layer"] == -1]
    for interval in common:
        rows = thermo[(thermo["step"] >= interval["start"]) & (thermo["step"] < interval["end"])]
        assert interval["heat"] == pytest.approx(rows["heat"][-1] - rows["heat"][0])
        assert interval["heat_se"] == pytest.approx(rows["heat_se"][-1] + rows["heat_se"][0])
        assert interval["temperature_se"] < 0.2 * interval["temperature"]
    covered = [(i["start"], i["end"]) for i in (*common, *found["transitions"])]
    assert sum(end - start for start, end in covered) <= thermo["step"][-1] + 1
    assert {"step_up", "temperature_jump"} <= set(found["transitions"][0]["kinds"])
    for transition in found["transitions"]:
        assert all(transition[f"{name}_se"] > 0 for name in names)
    shown = RUNNER.invoke(app, [str(SAMPLES / "softmax-disturbed.h5"), "--preset", "default"]).stdout
    assert "while alerts broke the reservoir assumption" in shown
    heat = next(line for line in shown.splitlines() if "step_up" in line and "temperature_jump" in line)
    assert heat.count("±") == len(names)


def test_an_undisturbed_run_passes() -> None:
    status, found = scanned(SAMPLES / "softmax-batch-100.h5", "--preset", "default")
    assert status == 0
    assert found["valid_intervals"]


def test_the_table_says_what_the_errors_of_gains_are(csv: Path) -> None:
    def told(file: Path) -> bool:
        return "the errors at both ends, added" in " ".join(RUNNER.invoke(app, [str(file)]).stdout.split())

    assert told(SAMPLES / "softmax-batch-10.h5")
    assert not told(csv), "which has none"


def test_fail_on_names_the_kinds_that_fail(csv: Path) -> None:
    assert scanned(csv, "--fail-on", "divergence")[0] == 0
    assert scanned(csv, "--fail-on", "none")[0] == 0
    assert scanned(csv, "--fail-on", "divergence", "--fail-on", "loss_spike")[0] == 1


def test_several_files_are_a_list_and_a_table(csv: Path) -> None:
    status, found = scanned(csv, SAMPLES / "softmax-batch-100.h5")
    assert isinstance(found, list)
    assert len(found) == 2
    assert status == 1
    shown = RUNNER.invoke(app, [str(csv)])
    assert "loss_spike" in shown.stdout
    assert "valid reservoir intervals" in shown.stdout


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("step,loss\n1,2\n", ["--column", "los"], "has no column 'los'; there are step, loss"),
        ("step,loss\n1,2\n1,3\n", [], "does not exceed 1 before it"),
        ("step,loss\n1,two\n", [], "'two' in column 'loss'"),
        ("step,loss\n0.1,2\n0.2,1\n", [], "step 0.1 at entry 1 is no whole number of steps"),
        ("step,loss\ninf,2\n", [], "step inf at entry 1 is no whole number of steps"),
        ("step,loss\n1e30,2\n", [], "step 1e+30 at entry 1 is no whole number of steps"),
        ("step,loss\nx,2\n", [], "entry 1 has no number in the step column 'step'"),
        ("loss,loss\n1,2\n", [], "has two columns 'loss'"),
        ("", [], "is empty"),
        ("step,loss\n", [], "holds no numbers"),
        ("step;loss\n1;2\n", [], "has no column 'loss'; there are step;loss"),
        ("step,loss\n1,\n", [], "holds no numbers"),
        ("step,loss\n1,2\n", ["--fail-on", "spikes"], "no kind 'spikes'"),
        ("step,loss\n1,2\n", ["--webhook", "ftp://x"], "is no http:// or https:// URL"),
        ("step,loss\n1,2\n", ["--exec", "'"], "--exec"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, content: str, options: list[str], said: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    result = RUNNER.invoke(app, [str(path), *options])
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_file_that_cannot_be_read_keeps_none_of_the_others_from_being_scanned(
    csv: Path, tmp_path: Path, form: list[str]
) -> None:
    shutil.copy(SAMPLES / "softmax-batch-100.h5", tmp_path / "good.h5")
    (tmp_path / "bad.h5").write_bytes(b"?")
    (tmp_path / "none").mkdir()
    result = RUNNER.invoke(app, [str(tmp_path / "none"), str(tmp_path), str(csv), *form])
    assert result.exit_code == 2
    none, bad = result.stderr.splitlines()
    assert none.startswith(f"thermotui: {tmp_path / 'none'}: neither run logs")
    assert bad == f"thermotui: {tmp_path / 'bad.h5'}: is not a run log (no HDF5 signature)"
    read = [str(tmp_path / "good.h5"), str(csv)]
    if form:
        assert [found["file"] for found in json.loads(result.stdout)] == read
    else:
        assert all(f"{name}" in result.stdout for name in read)
    (tmp_path / "good.h5").write_bytes(b"?")
    result = RUNNER.invoke(app, [str(tmp_path), *form])
    assert result.exit_code == 2
    assert [line.split(":")[1].rpartition("/")[2] for line in result.stderr.splitlines()] == ["bad.h5", "good.h5"]
    assert result.stdout == ("[]\n" if form else "")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        RUNNER.invoke(app, [str(tmp_path / "none.csv")], catch_exceptions=False)


def test_a_command_gets_each_alert_on_its_standard_input(csv: Path, tmp_path: Path) -> None:
    written = tmp_path / "alerts.jsonl"
    program = f"import sys; open({str(written)!r}, 'a').write(sys.stdin.read() + chr(10))"
    result = RUNNER.invoke(app, [str(csv), "--exec", f'{sys.executable} -c "{program}"'])
    assert result.exit_code == 1
    (payload,) = [json.loads(line) for line in written.read_text().splitlines()]
    assert payload["file"] == str(csv)
    assert payload["alert"]["kind"] == "loss_spike"


def test_a_command_that_fails_is_said() -> None:
    with pytest.raises(InputError, match="status 3"):
        run_command([sys.executable, "-c", "raise SystemExit(3)"], {})
    with pytest.raises(InputError, match="cannot run"):
        run_command(["/nonexistent/program"], {})


class Listener(BaseHTTPRequestHandler):
    """Answers with the statuses it was given, then 200, and keeps what it got."""

    statuses: list[int]
    bodies: list[Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(json.loads(body))
        self.send_response(self.statuses.pop(0) if self.statuses else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[tuple[str, type[Listener]]]:
    handler = type("Handler", (Listener,), {"statuses": [], "bodies": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", handler
    server.shutdown()
    server.server_close()


def test_a_webhook_gets_each_alert_as_json(csv: Path, listener: tuple[str, type[Listener]]) -> None:
    url, handler = listener
    assert RUNNER.invoke(app, [str(csv), "--webhook", url]).exit_code == 1
    assert [body["alert"]["kind"] for body in handler.bodies] == ["loss_spike"]


def test_a_server_that_fails_is_asked_three_times(listener: tuple[str, type[Listener]]) -> None:
    url, handler = listener
    handler.statuses[:] = [503, 503]
    pauses: list[float] = []
    post(url, {"x": 1}, sleep=pauses.append)
    assert len(handler.bodies) == 3
    assert pauses == [0.5, 1.0]
    handler.statuses[:] = [503, 503, 503]
    with pytest.raises(InputError, match="3 attempts"):
        post(url, {}, sleep=pauses.append)


def test_a_server_that_refuses_is_not_asked_again(listener: tuple[str, type[Listener]]) -> None:
    url, handler = listener
    handler.statuses[:] = [404]
    with pytest.raises(InputError, match="status 404"):
        post(url, {})
    assert len(handler.bodies) == 1


def test_a_directory_named_csv_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "d.csv").mkdir()
    result = RUNNER.invoke(app, [str(tmp_path / "d.csv")])
    assert isinstance(result.exception, InputError)
    assert "neither run logs (*.h5) nor TensorBoard events" in str(result.exception)


def test_all_alerts_are_delivered_though_one_delivery_fails(csv: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.csv"
    second.write_text(csv.read_text())
    counter = tmp_path / "count"
    program = f"import sys; open({str(counter)!r}, 'a').write('x'); sys.exit(1)"
    result = RUNNER.invoke(app, [str(csv), str(second), "--exec", f'{sys.executable} -c "{program}"'])
    assert result.exit_code == 2
    assert len(counter.read_text()) == 2


def test_what_a_command_prints_does_not_mix_with_the_json(csv: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "thermotui", "scan", "--json", str(csv), "--exec", "echo hello"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert result.returncode == 1
    assert json.loads(result.stdout)["alerts"]
    assert result.stderr == "hello\n"
