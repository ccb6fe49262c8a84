"""A stand-in for `gpuworker.entries.serve`: a small container that does what requests ask for, and endpoints that use
it.

It is started as the runner starts the real one (`PYTHON -m gpuworker.entries.serve serve`). FAKE in the model's
environment says how it starts: "" comes up at once, "late" after 0.5 s, "crash" never does, "deaf" never answers /ping
well.
"""

import stat
import sys
from pathlib import Path
from typing import Any

CODE = """\
import json, os, pathlib, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

how = os.environ.get("FAKE", "")
print(f"starting {how}", flush=True)
if how == "crash":
    print("no such model", flush=True)
    sys.exit(3)
started = time.monotonic()
state = {"drain": False, "at_once": 0, "most": 0, "served": 0}
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        late = how == "late" and time.monotonic() - started < 0.5
        self.answer(503 if late or how == "deaf" or state["drain"] else 200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            state["at_once"] += 1
            state["most"] = max(state["most"], state["at_once"])
        try:
            status, content = self.serve(body)
        finally:
            with lock:
                state["at_once"] -= 1
        self.answer(status, content)  # whoever has this answer may send the next request

    def serve(self, body):
        try:
            wish = json.loads(body) if self.headers.get("Content-Type") == "application/json" else {}
        except ValueError:
            wish = {}
        if wish.get("crash"):
            os._exit(9)
        time.sleep(wish.get("sleep", 0))
        state["served"] += 1
        told = {
            "echo": body.decode(errors="replace"),
            "type": self.headers.get("Content-Type"),
            "accept": self.headers.get("Accept"),
            "attributes": self.headers.get("X-Amzn-SageMaker-Custom-Attributes"),
            "inference_id": self.headers.get("X-Amzn-SageMaker-Inference-Id"),
            "token": self.headers.get("X-Gpupipe-Caller-Token"),
            "pid": os.getpid(),
            "most": state["most"],
            "environment": {name: os.environ.get(name) for name in wish.get("tell", [])},
        }
        status = wish.get("status", 200)
        content = told if status == 200 else {"error": {"code": "asked_for", "message": "as asked"}}
        print(json.dumps({"served": wish, "status": status}), flush=True)
        return status, json.dumps(content).encode()

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Amzn-SageMaker-Custom-Attributes", "from=container")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def drain(*_):
    state["drain"] = True
    print("draining", flush=True)
    os._exit(0)


signal.signal(signal.SIGTERM, drain)
port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
server = ThreadingHTTPServer((os.environ["GPUPIPE_BIND_HOST"], port), Handler)
server.daemon_threads = True
server.serve_forever()
"""


def write_container_python(folder: Path) -> Path:
    """Stands in for the Python that runs `-m gpuworker.entries.serve`."""
    script = folder / "container-python"
    script.write_text(f"#!{sys.executable} -S\n{CODE}")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def make_model(sagemaker: Any, name: str, environment: dict[str, str] | None = None) -> str:
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn="arn:aws:iam::123456789012:role/any",
        PrimaryContainer={"Image": "image", "Environment": environment or {}},
    )
    return name


def make_config(
    sagemaker: Any,
    name: str,
    *,
    variants: dict[str, float] | None = None,
    environment: dict[str, str] | None = None,
    instances: int = 1,
    asynchronous: dict[str, Any] | None = None,
) -> str:
    """An endpoint configuration with a model a variant (name -> weight; one called `main` if not said)."""
    productions = [
        {
            "VariantName": variant,
            "ModelName": make_model(sagemaker, f"{name}-{variant}", {**(environment or {}), "VARIANT": variant}),
            "InitialInstanceCount": instances,
            "InstanceType": "ml.m5.xlarge",
            "InitialVariantWeight": weight,
        }
        for variant, weight in (variants or {"main": 1.0}).items()
    ]
    more = {"AsyncInferenceConfig": asynchronous} if asynchronous else {}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=productions, **more)
    return name


def asynchronous(bucket: str, *, success: str = "", error: str = "", at_once: int = 2) -> dict[str, Any]:
    """An AsyncInferenceConfig whose results go below `bucket`."""
    topics = {"SuccessTopic": success, "ErrorTopic": error}
    return {
        "OutputConfig": {
            "S3OutputPath": f"s3://{bucket}/responses/",
            "S3FailurePath": f"s3://{bucket}/errors/",
            "NotificationConfig": {name: topic for name, topic in topics.items() if topic},
        },
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": at_once},
    }


def make_endpoint(sagemaker: Any, name: str, config: str, *, stack: str = "demo-dev") -> None:
    sagemaker.create_endpoint(
        EndpointName=name, EndpointConfigName=config, Tags=[{"Key": "gpupipe:stack", "Value": stack}]
    )
