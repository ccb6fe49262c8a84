"""How many work at once: the stage runner's gates, whatever the stages do behind them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuworker.pipeline.journal import Journal
from gpuworker.pipeline.stage_runner import ENCODERS, StageRunner
from gpuworker.pipeline.watch import Watch
from gpuworker.process.log import Log


def let_through(stage_runner: StageRunner, stage: str) -> int:
    return sum(stage_runner.gates[stage].acquire(blocking=False) for _ in range(100))


@pytest.mark.parametrize(("cores", "encoders"), [(2, 0), (ENCODERS, 0), (ENCODERS + 1, ENCODERS), (16, ENCODERS)])
def test_few_encode_at_once_and_share_what_cores_there_are(tmp_path: Path, cores: int, encoders: int) -> None:
    journal = Journal(tmp_path / "journal")
    stage_runner = StageRunner(Watch(journal, item_timeout_s=20), Log([]), cores=cores)
    # when as many decode as there are cores, then on few cores nobody encodes meanwhile, and on many a few do
    assert let_through(stage_runner, "decode") == cores
    assert let_through(stage_runner, "encode") == encoders
    journal.close()
