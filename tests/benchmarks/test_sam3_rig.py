"""The parts of SAM3's benchmarks: that they run what they say, not how fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import sam3_rig as rig


@pytest.mark.parametrize("kept", [0, 20, 200])
def test_so_many_blobs_pass_and_none_touches_another(kept: int) -> None:
    above = rig.blobs(kept) > 0
    assert above.shape == (rig.QUERIES, rig.SMALL_PX, rig.SMALL_PX)
    assert int(above.any((1, 2)).sum()) == kept
    assert above.sum(0).max(initial=0) <= 1


def test_the_real_worker_finds_as_many_as_are_forced(tmp_path: Path) -> None:
    # given the tiny model in the real task
    task, engine, load_s = rig.loaded_task(rig.write_weights(tmp_path / "weights", tiny=True), "cpu")
    assert load_s > 0
    engine.force(5)
    # when three images of a small size go through the stream
    pictures = [rig.jpeg(120, 160, seed) for seed in range(2)]
    done = rig.streamed(task, pictures, 3, tmp_path, device="cpu", options=rig.OPTIONS)
    # then every one has its five, and time was taken by every stage
    assert (done.images, done.annotations) == (3, 15)
    assert set(done.seconds) == {"download", "decode", "infer", "encode", "upload"}
    assert done.written_bytes > 0
    assert rig.bare_images_a_second(engine.network, 1, prompts=2, seconds=0.0) > 0
