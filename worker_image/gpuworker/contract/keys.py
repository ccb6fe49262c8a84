"""Where everything lives in a pipeline's data bucket.

Layout of a pipeline's data bucket (`<n>` is a shard number of five digits, `<g>` a generation):

    incoming/<project>/...                     drop-ins, by any S3 client
    inputs/<project>/...                       uploaded by `gpupipe submit`
    jobs/<job>/job.json                        JobSpec: what was asked for
    jobs/<job>/shards/<n>.json                 Shard of generation 0; `<n>.<g>.json` for later ones
    jobs/<job>/manifest.json                   Manifest: written last, the start signal
    jobs/<job>/retries/<g>/manifest.json       Manifest of a retry: the start signal of generation g
    jobs/<job>/results/<n>.<g>.json.gz         ShardResult: the commit of a shard (If-None-Match)
    jobs/<job>/cancelled                       empty; the job was cancelled
    processed/<project>/<job>/<output>/...     artefacts of an item and its record
    logs/<date>/<machine>.log                  worker log, JSON lines
    requests/<id>/<name>                       one image of `gpupipe invoke` for an asynchronous endpoint
    values/<project>/<name>                    nothing: the key of an item that is a value, not an object
    responses/, errors/                        what SageMaker writes of each asynchronous invocation
    models/<owner>/<name>/<revision>/...       weights, as a hub had them; kept for ever
    models/<owner>/<name>/<revision>.json      which files those are, with their checksums; written last
    models/compiled/<name>                     what an engine has compiled, by GPU, version and shape
"""

from __future__ import annotations

import hashlib
import re

from gpuworker.contract.errors import ContractError

INCOMING, INPUTS, JOBS, PROCESSED, LOGS = "incoming/", "inputs/", "jobs/", "processed/", "logs/"
REQUESTS, RESPONSES, ERRORS = "requests/", "responses/", "errors/"
MODELS = "models/"
VALUES = "values/"
MANIFEST_NAME = "manifest.json"
JOB_NAME = r"(?!\.+$)[A-Za-z0-9._-]{1,128}"
"""One part of a key, and never another folder; `make_job_id` stays far below."""
INFERENCE_ID_MAX = 64
"""SageMaker's limit."""
_SHARD_KEY = re.compile(r"jobs/([^/]+)/shards/(\d{5,9})(?:\.([1-9]\d{0,8}))?\.json", re.ASCII)
_RESULT_KEY = re.compile(r"(?:jobs/[^/]+/)?results/(\d{5,9})\.(0|[1-9]\d{0,8})\.json\.gz", re.ASCII)


def is_job_name(name: object) -> bool:
    """May a job be called so?"""
    return isinstance(name, str) and re.fullmatch(JOB_NAME, name) is not None


def job_key(job: str) -> str:
    return f"{JOBS}{job}/job.json"


def manifest_key(job: str, generation: int = 0) -> str:
    """`jobs/<job>/manifest.json`, or the manifest of a retry."""
    if generation == 0:
        return f"{JOBS}{job}/{MANIFEST_NAME}"
    return f"{retries_prefix(job)}{generation}/{MANIFEST_NAME}"


def retries_prefix(job: str) -> str:
    """What lies there is called by the generations of the job's retries."""
    return f"{JOBS}{job}/retries/"


def shard_key(job: str, number: int, generation: int = 0) -> str:
    suffix = f".{generation}" if generation else ""
    return f"{JOBS}{job}/shards/{number:05d}{suffix}.json"


def result_prefix(job: str) -> str:
    return f"{JOBS}{job}/results/"


def result_key(job: str, number: int, generation: int) -> str:
    return f"{result_prefix(job)}{number:05d}.{generation}.json.gz"


def parse_result_key(key: str) -> tuple[int, int]:
    """`(number, generation)` of a result key, whole or below its job's folder. Raises ContractError for another key:
    what only ends like one (`results/../../x/00000.0.json.gz`) is none."""
    found = _RESULT_KEY.fullmatch(key)
    if not found:
        raise ContractError(f"not the key of a shard's result: {key}")
    return int(found[1]), int(found[2])


def cancelled_key(job: str) -> str:
    return f"{JOBS}{job}/cancelled"


def input_key(project: str, path: str) -> str:
    return f"{INPUTS}{project}/{path}"


def value_key(project: str, name: str) -> str:
    """What stands for a key where the input is a value: no object lies there."""
    return f"{VALUES}{project}/{name}"


def incoming_prefix(project: str) -> str:
    return f"{INCOMING}{project}/"


def output_prefix(project: str, job: str, output: str) -> str:
    """Folder of one item's artefacts, ending in `/`."""
    return f"{PROCESSED}{project}/{job}/{output}/"


def log_key(date: str, machine: str) -> str:
    return f"{LOGS}{date}/{machine}.log"


def model_prefix(weights: str, revision: str) -> str:
    """Folder of the mirror of a hub's `owner/name` at one commit, ending in `/`."""
    return f"{MODELS}{weights}/{revision}/"


def model_manifest_key(weights: str, revision: str) -> str:
    return f"{MODELS}{weights}/{revision}.json"


def compiled_key(name: str) -> str:
    """What an engine keeps under `name` for the next machine."""
    return f"{MODELS}compiled/{name}"


def parse_shard_key(key: str) -> tuple[str, int, int]:
    """`(job, number, generation)` of a shard's key. Raises ContractError for another key."""
    found = _SHARD_KEY.fullmatch(key)
    if not found or not is_job_name(found[1]):
        raise ContractError(f"not the key of a shard: {key}")
    return found[1], int(found[2]), int(found[3] or 0)


def inference_id(job: str, number: int, generation: int) -> str:
    """`<job>.<number>.<generation>` for SageMaker; cut and made unique again by a digest where that is too long."""
    whole = f"{job}.{number}.{generation}"
    if len(whole) <= INFERENCE_ID_MAX:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return f"{whole[: INFERENCE_ID_MAX - 13]}~{digest}"
