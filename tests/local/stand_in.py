"""Stand-ins for the Python of workers and containers, and configurations that use them."""

import stat
import sys
import textwrap
from pathlib import Path

from tests.local.containers import write_container_python

from gpupipe.config_file import render


def write_worker_python(folder: Path) -> Path:
    """Stands in for the Python that runs `-m gpuworker.entries.poll`: notes each start, then does what worker.json
    says.

    `{"then": "exit 0"}` ends; `"wait"` waits for SIGTERM; `"stubborn"` ignores it; a list gives one for each start.
    """
    script = folder / "worker-python"
    script.write_text(
        textwrap.dedent(
            f"""\
            #!{sys.executable}
            import json, os, pathlib, signal, subprocess, sys, time
            disk = pathlib.Path(os.environ["GPUPIPE_WORK_DIR"])
            settings = json.loads(pathlib.Path(os.environ["GPUPIPE_WORKER_CONFIG"]).read_text())
            starts = disk / "starts.jsonl"
            number = len(starts.read_text().splitlines()) if starts.exists() else 0
            wanted = {{name: os.environ.get(name) for name in settings.get("tell", [])}}
            child = subprocess.Popen(["sleep", "60"]) if settings.get("child") else None
            if settings["then"] == "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if settings["then"] == "wait":
                def ended(*_):
                    (disk / "told.txt").write_text("SIGTERM")
                    sys.exit(0)
                signal.signal(signal.SIGTERM, ended)
            with starts.open("a") as stream:
                line = {{"pid": os.getpid(), "argv": sys.argv[1:], "child": child and child.pid, **wanted}}
                stream.write(json.dumps(line) + "\\n")
            then = settings["then"]
            then = then[min(number, len(then) - 1)] if isinstance(then, list) else then
            if then.startswith("exit"):
                sys.exit(int(then.split()[1]))
            if then == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
            """
        )
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def write_python(folder: Path) -> Path:
    """Stands in for the one Python that runs both `-m gpuworker.entries.poll` and `-m gpuworker.entries.serve`."""
    worker, container, script = write_worker_python(folder), write_container_python(folder), folder / "python"
    script.write_text(
        f"""#!/bin/sh
case "$2" in gpuworker.entries.serve) exec "{container}" "$@" ;; *) exec "{worker}" "$@" ;; esac
"""
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def write_config(folder: Path, name: str = "demo") -> Path:
    """A gpupipe.toml of stack `<name>-dev` whose machines and containers run the stand-ins."""
    file = folder / f"{name}.toml"
    text = render(kinds=["queue"], name=name, target="local")
    python = write_python(folder)
    file.write_text(text.replace("[local]\n", f'[local]\nworker_python = "{python}"\nguard_interval_s = 0.5\n', 1))
    return file
