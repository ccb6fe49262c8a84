"""Documents of a bucket, read as what lies at their own place: none names another job, pipeline, project or folder.

Whoever may write one object or send one message may write any document. So whoever acts on one reads it here, with
what he knows of it already: where he found it, and whose the bucket is; a `project` of "" is one he does not know.
Keys are taken literally, as S3 takes them: `inputs/field7/../x` is an object below `inputs/field7/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gpuworker.contract.decisions import is_project_name, output_candidates
from gpuworker.contract.documents import Item, JobSpec, Manifest, Place, Shard
from gpuworker.contract.errors import ContractError
from gpuworker.contract.keys import (
    INCOMING,
    INPUTS,
    VALUES,
    is_job_name,
    job_key,
    manifest_key,
    output_prefix,
    result_key,
    shard_key,
)
from gpuworker.contract.results import Failure, ItemResult, ShardResult
from gpuworker.contract.shapes import require_shape
from gpuworker.contract.values import SHARD_DOCUMENT_BYTES, mistake_in_name


def read_spec(text: str | bytes, *, job: str, pipeline: str) -> JobSpec:
    """The `job.json` of a job of this pipeline. Raises ContractError."""
    spec = JobSpec.from_json(text)
    require_shape(spec)
    _require(job_key(job), spec.job, job=job, pipeline=pipeline, of=spec)
    return spec


def read_manifest(text: str | bytes, *, job: str, generation: int, pipeline: str, project: str = "") -> Manifest:
    """The manifest of this generation of a job of this pipeline. Raises ContractError."""
    manifest = Manifest.from_json(text)
    require_shape(manifest)
    key = manifest_key(job, generation)
    _require(key, manifest.job, job=job, pipeline=pipeline, project=project, of=manifest)
    _require_same(key, "the generation", manifest.generation, generation)
    return manifest


def read_shard(text: str | bytes, *, place: Place, pipeline: str, project: str = "") -> Shard:
    """The shard of this place, of this pipeline, with inputs of its own project only. Raises ContractError."""
    shard = Shard.from_json(text)
    require_shape(shard)
    key = shard_key(*place)
    if shard.place != place:
        raise ContractError(f"{key} describes another shard: {shard.place}")
    _require(key, shard.job, job=place[0], pipeline=pipeline, project=project, of=shard)
    if len(text) > SHARD_DOCUMENT_BYTES and any(item.value is not None for item in shard.items):
        raise ContractError(f"{key} has values and more than {SHARD_DOCUMENT_BYTES:,} bytes")
    _require_inputs(shard.items, shard.project)
    _require_distinct(item.output for item in shard.items)
    return shard


def read_result(data: bytes, *, place: Place, project: str = "") -> ShardResult:
    """The commit of this place. Each artefact lies in its own item's folder. Raises ContractError."""
    result = ShardResult.from_gzip(data)
    require_shape(result)
    if result.place != place:
        raise ContractError(f"{result_key(*place)} describes another shard: {result.place}")
    about: Sequence[ItemResult | Failure] = (*result.items, *result.failures)
    _require_inputs(about, project)
    _require_distinct(one.output for one in about)
    for item in result.items:
        require_own_artifacts(item, job=result.job)
    return result


def require_own_artifacts(item: ItemResult, *, job: str) -> None:
    """Raises ContractError for an artefact outside of the item's folder."""
    folder = output_prefix(item.key.split("/", 2)[1], job, item.output)
    for name, artifact in item.artifacts.items():
        if artifact.key != folder + name or {"", ".", ".."} & {*name.split("/")}:
            raise ContractError(f"the file {name!r} of {item.output!r} lies elsewhere: {artifact.key!r}")


def _require(
    key: str, named: str, *, job: str, pipeline: str, project: str = "", of: JobSpec | Manifest | Shard
) -> None:
    if not is_job_name(job):
        raise ContractError(f"{job!r} is not a job's name")
    _require_same(key, "the job", named, job)
    _require_same(key, "the pipeline", of.pipeline, pipeline)
    if not is_project_name(of.project):
        raise ContractError(f"{key}: {of.project!r} is not a project's name")
    _require_same(key, "the project", of.project, project or of.project)


def _require_same(key: str, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise ContractError(f"{key} names {what} {found!r}, and lies in the place of {expected!r}")


def _require_inputs(items: Iterable[Item | ItemResult | Failure], project: str) -> None:
    for item in items:
        if item.value is not None or item.key.startswith(VALUES):
            _require_value(item, project)
            continue
        folder, _, path = item.key.removeprefix(INCOMING).removeprefix(INPUTS).partition("/")
        if not item.key.startswith((INCOMING, INPUTS)) or folder != (project or folder) or not path:
            raise ContractError(f"{item.key!r} is not an input of project {project}")
        if item.output not in output_candidates(path):
            raise ContractError(f"{item.output!r} is not what the result of {item.key!r} is called")


def _require_value(item: Item | ItemResult | Failure, project: str) -> None:
    """Key, ETag and output follow from the value and its name."""
    folder, _, name = item.key.removeprefix(VALUES).partition("/")
    if not item.key.startswith(VALUES) or folder != (project or folder) or item.value is None:
        raise ContractError(f"{item.key!r} is not a value of project {project}")
    if mistake := mistake_in_name(name):
        raise ContractError(f"{item.key!r}: the name {mistake}")
    same = Item.inline(project=folder, name=name, value=item.value)
    if (item.key, item.etag, item.output) != (same.key, same.etag, same.output):
        raise ContractError(f"{item.key!r} is not the key, ETag or result's name of its value")


def _require_distinct(outputs: Iterable[str]) -> None:
    seen: set[str] = set()
    for output in outputs:
        if output in seen:
            raise ContractError(f"two items would have the results {output!r}")
        seen.add(output)
