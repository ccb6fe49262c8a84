"""A submission of files: uploaded, unless they are there already, and pinned by what S3 made of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import ClassVar

from gpupipe.errors import InputError, UploadError
from gpupipe.jobs.flow import concurrently
from gpupipe.jobs.present import Present
from gpupipe.jobs.sources import Input, content_type
from gpupipe.jobs.submission import Submission
from gpupipe.jobs.transfer import IN_FLIGHT_BYTES, bytes_held
from gpupipe.jobs.upload import Stored, Upload, content_etag, upload_one, write_document
from gpuworker.contract import Item, choose_outputs, input_key, shard_key

MISTAKES_SHOWN = 5


class FileSubmission(Submission):
    """Of files and members of archives."""

    unit: ClassVar[str] = "files"

    @cached_property
    def _outputs(self) -> Sequence[str]:
        return choose_outputs([file.path for file in self._files])

    def _send(self) -> None:
        present = Present(self._ctx, self._spec.project, self._files)
        mistakes: list[InputError] = []
        placed = concurrently(
            enumerate(self._files),
            lambda numbered: self._place(present, *numbered),
            threads=self._store.threads,
            cost=lambda numbered: bytes_held(numbered[1].size),
            budget=IN_FLIGHT_BYTES,
        )
        with closing(placed):
            for (_, file), placement in placed:
                if isinstance(placement, InputError):
                    mistakes.append(placement)
                elif isinstance(placement, Exception):
                    raise placement
                else:
                    self._count([file], are_unchanged=placement)
        if mistakes:
            self._cancel_draft()
            raise self._not_started(mistakes)

    def _place(self, present: Present, index: int, file: Input) -> bool:
        """Bring one input to where it belongs, and its shard if that is complete; was it there already?"""
        key = input_key(self._spec.project, file.path)
        stored = present.find(key)
        is_unchanged = stored is not None and stored.size == file.size and stored.etag == content_etag(file)
        if stored is None or not is_unchanged:
            stored = upload_one(self._store, Upload(key=key, source=file, content_type=content_type(file.path)))
        shard = self._assembly.add(index, self._item(index, stored))
        if shard is not None:
            write_document(self._store, shard_key(shard.job, shard.number), shard.to_json())
        return is_unchanged

    def _item(self, index: int, stored: Stored) -> Item:
        return Item(
            key=stored.key,
            etag=stored.etag,
            size=stored.size,
            output=self._outputs[index],
            version_id=stored.version_id,
            sidecar=self._sidecars.get(self._files[index].path, {}),
        )

    def _not_started(self, mistakes: Sequence[InputError]) -> UploadError:
        shown = "".join(f"\n  {mistake.message}" for mistake in mistakes[:MISTAKES_SHOWN])
        more = len(mistakes) - MISTAKES_SHOWN
        return UploadError(
            f"{len(mistakes):,} of {len(self._files):,} files could not be uploaded, so no job was started:{shown}"
            + (f"\n  and {more:,} more" if more > 0 else ""),
            hint="Mend or remove them and submit again; what is uploaded is not uploaded again.",
        )
