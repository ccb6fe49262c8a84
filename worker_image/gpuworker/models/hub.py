"""A hub's repository at one commit: which files of it are taken, and their download, resumed where it broke off.

What goes wrong is told as ModelError: what happened, and what the person can do about it.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gpuworker.contract import ModelSource
from gpuworker.models import ModelError
from gpuworker.models.files import WEIGHTS, ModelFile, is_taken

T = TypeVar("T")

PAUSES_S = (2.0, 8.0, 30.0)
"""Between tries; the hub's client makes several calls of its own in each."""
LIST_TIMEOUT_S = 20.0
AT_ONCE = 8
_NAME_A_SECRET = (
    'name a secret ("hf_token") as token_secret in [pipelines.<name>.model], and give it the token with '
    "`gpupipe secrets set hf_token`"
)


class Hub:
    """The repository that `source` names."""

    def __init__(
        self, source: ModelSource, *, token: str, endpoint: str | None = None, pauses_s: Sequence[float] = PAUSES_S
    ) -> None:
        """`token` "" asks as nobody; `endpoint` None is the public hub, or what HF_ENDPOINT names."""
        self._source, self._token, self._endpoint, self._pauses_s = source, token, endpoint, pauses_s

    @property
    def _access(self) -> str | bool:
        return self._token or False  # False: not whatever token lies on this machine

    def files(self) -> tuple[ModelFile, ...]:
        """What the repository holds of use. Raises ModelError."""
        found = self._patiently(self._listed)
        if not any(one.path.endswith(WEIGHTS) for one in found):
            raise ModelError(
                f"{self._source.weights} holds no *{WEIGHTS} at commit {self._source.revision[:8]}; "
                "other formats may run code when they are read, and are not taken"
            )
        return found

    def _listed(self) -> tuple[ModelFile, ...]:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self._endpoint, token=self._access)
        info = api.model_info(
            self._source.weights, revision=self._source.revision, files_metadata=True, timeout=LIST_TIMEOUT_S
        )
        return tuple(_model_file(one) for one in info.siblings or () if is_taken(one.rfilename))

    def fetch(self, files: Sequence[ModelFile], into: Path) -> tuple[ModelFile, ...]:
        """Download `files` into a folder and verify them; what is there already is not asked for again.

        Raises ModelError.
        """
        return self._patiently(lambda: self._fetched(files, into))

    def _fetched(self, files: Sequence[ModelFile], into: Path) -> tuple[ModelFile, ...]:
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import disable_progress_bars
        from huggingface_hub.utils.logging import set_verbosity_error

        disable_progress_bars()
        set_verbosity_error()  # its warnings tell the signed addresses of files; what matters is raised
        snapshot_download(
            self._source.weights,
            repo_type="model",
            revision=self._source.revision,
            local_dir=into,
            cache_dir=into / ".cache",
            allow_patterns=[one.path for one in files],
            token=self._access,
            endpoint=self._endpoint,
            max_workers=AT_ONCE,
        )
        return tuple(_verified(one, into) for one in files)

    def _patiently(self, call: Callable[[], T]) -> T:
        """The call's answer, tried again where it may pass. Raises ModelError."""
        pauses = iter(self._pauses_s)
        while True:
            try:
                return call()
            except Exception as error:
                explained = error if isinstance(error, ModelError) else self._explained(error)
                pause_s = None if explained.is_final else next(pauses, None)
                if pause_s is None:
                    raise explained from (None if explained is error else error)
            time.sleep(pause_s)

    def _explained(self, error: Exception) -> ModelError:
        """What went wrong, in words for people. Raises `error` where it is a bug of ours."""
        from huggingface_hub import errors as hub

        chain = list(_chain(error))
        for one in chain:
            if isinstance(one, hub.HfHubHTTPError):
                return self._refused(one)
        for one in chain:
            if isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT):
                return ModelError("the disk of this machine is full: raise compute.volume_gb")
            if isinstance(one, OSError) and one.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return ModelError(f"the weights cannot be written: {one}")
        if any(isinstance(one, hub.OfflineModeIsEnabled) for one in chain):
            return ModelError("HF_HUB_OFFLINE is set on this machine, so the hub is not asked for weights")
        # Of whichever HTTP library the client uses in its version; and what its fast way of download raises.
        if any(isinstance(one, hub.HTTPError | OSError | RuntimeError) for one in chain):
            return ModelError(
                f"the hub could not be reached for {self._source.weights}: {_first_line(chain[-1])}. The machine needs "
                "a way to the internet the first time; later ones read the copy in the pipeline's bucket",
                is_final=False,
            )
        raise error

    def _refused(self, error: Any) -> ModelError:
        """What the hub's answer means."""
        from huggingface_hub import errors as hub

        source, status = self._source, error.response.status_code
        if isinstance(error, hub.GatedRepoError) or status == 403:
            return ModelError(f"{source.weights} is gated: {self._remedy_of_gate()}")
        if isinstance(error, hub.RevisionNotFoundError | hub.EntryNotFoundError):
            return ModelError(
                f"{source.weights} has no commit {source.revision}: copy one from its list of commits into "
                "[pipelines.<name>.model] revision"
            )
        if status == 401 and self._token:
            return ModelError(
                f"the hub does not take the token in secret {self._secret} for {source.weights}: make a new one with "
                f"read access and set it with `gpupipe secrets set {self._secret}`"
            )
        if isinstance(error, hub.RepositoryNotFoundError) or status in (401, 404):
            return ModelError(f"the hub shows no {source.weights}: {self._remedy_of_absence()}")
        if status in (408, 429) or status >= 500:
            return ModelError(f"the hub answered {status} for {source.weights}", is_final=False)
        return ModelError(f"the hub refused {source.weights} with {status}: {_first_line(error)}")

    @property
    def _secret(self) -> str:
        return secret_for_people(self._source)

    def _remedy_of_gate(self) -> str:
        accept = "accept its terms on its page of the hub"
        if self._token:
            return f"{accept} with the account whose token secret {self._secret} holds (read access to gated models)"
        return f"{accept}, then {_NAME_A_SECRET}"

    def _remedy_of_absence(self) -> str:
        if self._token:
            return f"mind its spelling, and that the token in secret {self._secret} may read it"
        return f"mind its spelling; where it is private or gated, {_NAME_A_SECRET}"


def secret_for_people(source: ModelSource) -> str:
    """The secret's name as the configuration and `gpupipe secrets` know it: without the stack's."""
    return source.token_secret.rpartition("/")[2]


def _model_file(found: Any) -> ModelFile:
    if found.lfs is not None:
        return ModelFile(path=found.rfilename, size=found.lfs.size, sha256=found.lfs.sha256)
    return ModelFile(path=found.rfilename, size=found.size, sha256="", git_sha1=found.blob_id)


def _verified(wanted: ModelFile, folder: Path) -> ModelFile:
    found = wanted.verified(folder)
    if found is None:
        (folder / wanted.path).unlink(missing_ok=True)
        raise ModelError(f"{wanted.path} arrived damaged from the hub", is_final=False)
    return found


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")
