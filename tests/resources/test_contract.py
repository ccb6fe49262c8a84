"""Every kind keeps the contract of kinds, in an account in this process."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.resources.contract import Contract, Killed
from tests.resources.samples import SAMPLES

from gpupipe.resources import KINDS, kind_class

# ministack does it, so `test_on_emulators` tries it.
MOTO_LACKS = {
    "test_changed_fields_are_updated[function]": "moto answers the first asynchronous set-up for ever",
}


class TestInProcess(Contract, Killed):
    """See `Contract`."""

    @pytest.fixture(autouse=True)
    def _expect_what_moto_lacks(self, request: pytest.FixtureRequest) -> None:
        if reason := MOTO_LACKS.get(request.node.name):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


def test_no_kind_is_left_out() -> None:
    dynamic = {kind for kind in KINDS if kind_class(kind).dynamic}

    assert set(SAMPLES) | dynamic | {"state bucket"} == set(KINDS)


def test_importing_every_kind_imports_nothing_heavy() -> None:
    # A subprocess: here everything heavy is imported already.
    code = "import sys; from gpupipe.resources import kinds; kinds(); print(*sys.modules, sep='\\n')"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert not {"boto3", "botocore", "torch", "cv2", "numpy", "pydantic"} & set(answer.stdout.split())
