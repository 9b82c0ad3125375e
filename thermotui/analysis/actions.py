"""What to do about an alert, where the user asked for it: run a command, or post to a URL. Nothing by default."""

from __future__ import annotations

import http.client
import json
import math
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from thermotui.detect.alert import Alert
from thermotui.errors import InputError

COMMAND_SECONDS = 60.0
POST_SECONDS = 5.0
ATTEMPTS = 3
FIRST_PAUSE = 0.5
_STDERR = 2
"""File descriptor: a command's output must not mix with ours on standard output, which programs read."""


@dataclass(frozen=True)
class Actions:
    """What to do about each alert. command: a program and its arguments, empty for none; webhook: empty for none."""

    command: tuple[str, ...] = ()
    webhook: str = ""
    silent: bool = False
    """Whether what the command prints is thrown away: a screen is drawn where it would go."""

    def __bool__(self) -> bool:
        return bool(self.command or self.webhook)

    def deliver(self, payload: dict[str, Any]) -> list[str]:
        """Do it; one sentence for each thing that failed."""
        failures = []
        try:
            if self.command:
                run_command(self.command, payload, silent=self.silent)
        except InputError as error:
            failures.append(str(error))
        try:
            if self.webhook:
                post(self.webhook, payload)
        except InputError as error:
            failures.append(str(error))
        return failures


def actions_of(execute: str | None, webhook: str | None, *, silent: bool = False) -> Actions:
    """The actions of `--exec` and `--webhook`; InputError where one of them cannot be used."""
    try:
        command = tuple(shlex.split(execute)) if execute is not None else ()
    except ValueError as error:
        raise InputError(f"--exec: {error}") from error
    if execute is not None and not command:
        raise InputError("--exec: names no command")
    if webhook is not None:
        check_url(webhook)
    return Actions(command, webhook or "", silent)


def deliver_all(alerts: Iterable[tuple[str, Alert]], actions: Actions) -> list[str]:
    """Deliver every alert above minor, given with the file of its run; what failed, each thing said once."""
    failures: dict[str, None] = {}
    for file, alert in alerts:
        if alert.severity != "minor":
            failures |= dict.fromkeys(actions.deliver(payload_of(file, alert)))
    return list(failures)


def payload_of(file: str, alert: Alert) -> dict[str, Any]:
    """The JSON of one alert: {"file", "alert": {"kind", "layer", "start", "end", …}}; NaN as None."""
    values = asdict(alert)
    plain = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}
    return {"file": file, "alert": plain}


def run_command(arguments: Sequence[str], payload: dict[str, Any], *, silent: bool = False) -> None:
    """Run the program `arguments[0]` with its arguments, no shell, `payload` as JSON on its standard input.

    What it prints goes to standard error; silent: is thrown away. InputError where it cannot be started, takes longer
    than a minute or ends with another status than 0.
    """
    try:
        done = subprocess.run(
            list(arguments),
            input=json.dumps(payload),
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            stdout=subprocess.DEVNULL if silent else _STDERR,
            stderr=subprocess.DEVNULL if silent else None,
        )
    except OSError as error:
        raise InputError(f"--exec: cannot run {arguments[0]!r} ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"--exec: {arguments[0]!r} was stopped after {COMMAND_SECONDS:.0f} s") from error
    if done.returncode:
        raise InputError(f"--exec: {arguments[0]!r} ended with status {done.returncode}")


def check_url(url: str) -> None:
    """InputError for anything but an http or https URL with a host."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise InputError(f"--webhook: {url!r} is no http:// or https:// URL")


def post(url: str, payload: dict[str, Any], *, sleep: Callable[[float], None] = time.sleep) -> None:
    """POST `payload` as JSON; at most three attempts, half a second and one second apart.

    Tried again where nothing answers or the server fails (status 5xx); InputError once that is in vain, and at once
    where the server refuses (any other status than 2xx).
    """
    check_url(url)
    body = json.dumps(payload).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=POST_SECONDS):
                return
        except urllib.error.HTTPError as error:
            reason = f"status {error.code}"
            error.close()
            if error.code < 500:
                raise InputError(f"--webhook: {url} answered with {reason}") from error
        except ValueError as error:
            raise InputError(f"--webhook: {url!r} cannot be asked ({error})") from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        if attempt < ATTEMPTS - 1:
            sleep(FIRST_PAUSE * 2**attempt)
    raise InputError(f"--webhook: {url} did not take the alert in {ATTEMPTS} attempts ({reason})")
