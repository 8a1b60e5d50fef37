"""Modules run in a process of their own: one JSON in, one JSON out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def run(module: str, asked: dict[str, Any], python: str = sys.executable, **variables: str) -> Any:
    """What a module of this package prints last; ``{"error": its last line}`` where it fails.

    Args:
        module: Its name in this package.
        asked: What it is asked.
        python: The interpreter that runs it.
        variables: Added to the environment.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [python, "-W", "ignore", "-m", f"tests.benchmarks.{module}", json.dumps(asked)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"error": lines[-1] if lines else f"exit code {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])
