"""What to do about an alert, where the user asked for it: run a command, or post to a URL. Nothing by default."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from thermotui.errors import InputError

COMMAND_SECONDS = 60.0
POST_SECONDS = 5.0
ATTEMPTS = 3
FIRST_PAUSE = 0.5


def run_command(arguments: Sequence[str], payload: dict[str, Any]) -> None:
    """Run the program `arguments[0]` with its arguments, no shell, `payload` as JSON on its standard input.

    InputError where it cannot be started, takes longer than a minute or ends with another status than 0.
    """
    try:
        done = subprocess.run(
            list(arguments), input=json.dumps(payload), text=True, timeout=COMMAND_SECONDS, check=False
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
