"""The container's entry as a process, by SageMaker's contract."""

from tests.gpuworker.serving.container import Container
from tests.gpuworker.station import Station

from gpuworker.ledger import JobState, ShardState


def test_image_by_request_and_shard_by_request(station: Station, container: Container) -> None:
    container.start("serve")
    reply = container.invoke(b"tree")
    assert (reply.status, reply.json["annotations"][0]["caption"]) == (200, "seen tree")
    assert reply.json["info"]["variant"] == "main"
    [shard] = station.job(["tree", "bad", "house"], send=False)
    reply = container.invoke_shard(shard)
    print(container.said)
    assert reply.json == {"status": "done", "job": shard.job, "number": 0, "generation": 0, "done": 2, "failed": 1}
    commit = station.commit(shard)
    assert commit is not None
    assert (commit.machine, commit.engine["variant"]) == ("main/one", "main")
    assert station.row(shard).state is ShardState.DONE
    job = station.ledger.job(shard.job)
    assert job is not None
    assert job.state is JobState.FINISHED
    assert container.invoke_shard(shard).json["status"] == "over"
