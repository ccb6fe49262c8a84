"""What moto 5.2 lacks or does unlike AWS where gpupipe would notice: mended inside the emulator's process.

Product code knows nothing of this. Each shim says what it mends; `tests/local/test_moto_shims.py` holds a test a
shim that fails once moto does it by itself, so that the shim is then removed.
"""

import functools
import threading
from typing import Any, cast

from gpupipe.local import moto_sagemaker


@functools.cache
def install() -> None:
    """Mend moto in place; called before it serves. Doing it twice changes nothing."""
    from moto.core.routing import ServiceOperationRouter
    from moto.ec2.models.launch_templates import LaunchTemplateBackend
    from moto.ec2.responses.fleets import Fleets
    from moto.ec2.responses.launch_templates import LaunchTemplates

    _make_fleets_idempotent(Fleets)
    _forget_deleted_versions(LaunchTemplateBackend)
    LaunchTemplates.delete_launch_template_versions = _delete_launch_template_versions
    _build_routers_one_at_a_time(ServiceOperationRouter)
    moto_sagemaker.install()


def _build_routers_one_at_a_time(service_router: Any) -> None:
    """The first requests of a service may come at once, and its router is made when one comes.

    werkzeug makes it by `ast`, which fails in two threads of CPython 3.11: "AST constructor recursion depth mismatch"
    (https://github.com/python/cpython/issues/106905).
    """
    original, lock = service_router._get_router, threading.Lock()

    def get_router(self: Any, protocol: str) -> Any:
        with lock:
            return original(self, protocol)

    service_router._get_router = get_router


def _make_fleets_idempotent(responses: Any) -> None:
    """CreateFleet: a repeated ClientToken answers the first call's fleet; instances get all that the template says.

    moto starts new machines each time, and takes from the launch template neither the shutdown behaviour, nor the
    metadata options, nor the instance profile, nor the `aws:…` tags by which AWS marks an instance's origin.
    """
    original = responses.create_fleet

    def create_fleet(self: Any) -> Any:
        token = self._get_param("ClientToken")
        # Kept with the backend, so that a request that is repeated after moto was killed starts nothing more either.
        answered = vars(self.ec2_backend).setdefault("answered_fleets", {})
        if token and token in answered:
            return answered[token]
        known = set(self.ec2_backend.fleets)
        result = original(self)
        for fleet_id in set(self.ec2_backend.fleets) - known:
            _complete(self.ec2_backend.fleets[fleet_id])
        if token:
            answered[token] = result
        return result

    responses.create_fleet = create_fleet


def _complete(fleet: Any) -> None:
    """Give a new fleet's instances what the launch template says about them."""
    pairs = [(item["instance"], item["launch_spec"]) for item in fleet.on_demand_instances]
    pairs += [(request.instance, request.launch_spec) for request in fleet.spot_requests]
    for instance, spec in pairs:
        origin = spec.launch_template_spec
        backend = fleet.ec2_backend
        template = backend.get_launch_template(origin["LaunchTemplateId"]).get_version(origin["Version"])
        _apply_template(backend, instance, template)
        instance.add_tags({"aws:ec2:fleet-id": fleet.id})


def _apply_template(backend: Any, instance: Any, template: Any) -> None:
    from moto.ec2.models.instances import MetadataOptions

    data = template.data
    behaviour = data.get("InstanceInitiatedShutdownBehavior")
    instance.instance_initiated_shutdown_behavior = behaviour or instance.instance_initiated_shutdown_behavior
    instance.metadata_options = MetadataOptions(data.get("MetadataOptions"))
    version_tags = {"id": template.template.id, "version": str(template.number)}
    instance.add_tags({f"aws:ec2launchtemplate:{name}": value for name, value in version_tags.items()})
    profile = data.get("IamInstanceProfile") or {}
    if profile:
        backend.associate_iam_instance_profile(instance.id, profile.get("Name"), profile.get("Arn"))


def _forget_deleted_versions(backend: Any) -> None:
    """DescribeLaunchTemplateVersions without the deleted ones (moto finds versions by position: none may go)."""
    original = backend.describe_launch_template_versions

    def describe_launch_template_versions(self: Any, *args: Any, **kwargs: Any) -> list[tuple[Any, Any]]:
        found = cast("list[tuple[Any, Any]]", original(self, *args, **kwargs))
        return [(template, version) for template, version in found if not getattr(version, "deleted", False)]

    backend.describe_launch_template_versions = describe_launch_template_versions


def _delete_launch_template_versions(self: Any) -> Any:
    """DeleteLaunchTemplateVersions, which moto does not have."""
    from moto.core.responses import ActionResult

    name, template_id = self._get_param("LaunchTemplateName"), self._get_param("LaunchTemplateId")
    backend = self.ec2_backend
    template = backend.get_launch_template_by_name(name) if name else backend.get_launch_template(template_id)
    self.error_on_dryrun()
    done: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for number in self._get_param("Versions", []):
        version = template.get_version(number)
        answer = {
            "LaunchTemplateId": template.id,
            "LaunchTemplateName": template.name,
            "VersionNumber": version.number,
        }
        if template.is_default(version):
            error = {"Code": "unexpectedError", "Message": "the default version cannot be deleted"}
            refused.append({**answer, "ResponseError": error})
        else:
            version.deleted = True
            done.append(answer)
    return ActionResult(
        {
            "SuccessfullyDeletedLaunchTemplateVersions": done,
            "UnsuccessfullyDeletedLaunchTemplateVersions": refused,
        }
    )
