"""Objects under incoming/ whose events were lost are told of again."""

from __future__ import annotations

import pytest
from tests.jobs.desk import Desk

from gpupipe.errors import InputError
from gpupipe.functions.arrivals import NotTaken, ObjectArrived, arrivals
from gpupipe.jobs.rescan import Rescan, is_rescan, rescan


@pytest.mark.parametrize("ending", ["", "/"])
def test_dispatch_is_told_of_the_newest_version_of_each_object(desk: Desk, ending: str) -> None:
    for key in (
        "incoming/field7/a b.jpg",
        "incoming/field7/deep/ä.jpg",
        "incoming/field70/c.jpg",
        "inputs/field7/d.jpg",
    ):
        desk.put(key, b"old")
    desk.put("incoming/field7/a b.jpg", b"newer")
    desk.put("incoming/field7/folder/", b"")
    desk.put("incoming/field7/gone.jpg")
    desk.s3.delete_object(Bucket=desk.ctx.bucket, Key="incoming/field7/gone.jpg")
    counted: list[int] = []
    answer = rescan(desk.ctx, f"s3://{desk.ctx.bucket}/incoming/field7{ending}", on_found=counted.append)
    assert answer == Rescan(project="field7", objects=2, bytes=8)
    assert counted == [1, 2]
    # as the function reads it
    messages = desk.sqs.receive_message(QueueUrl=desk.ctx.event_queue_url)["Messages"]
    records = [{"messageId": "m", "body": message["Body"]} for message in messages]
    found = list(arrivals(records, bucket=desk.ctx.bucket, suffixes=[".jpg"]))
    assert not [one for one in found if isinstance(one, NotTaken)]
    taken = {one.key: one for one in found if isinstance(one, ObjectArrived)}
    assert set(taken) == {"incoming/field7/a b.jpg", "incoming/field7/deep/ä.jpg"}
    newest = taken["incoming/field7/a b.jpg"]
    assert (newest.project, newest.size) == ("field7", 5)
    assert desk.get(newest.key, newest.version_id) == b"newer"


def test_a_folder_of_a_project_can_be_named(desk: Desk) -> None:
    desk.put("incoming/field7/deep/a.jpg")
    desk.put("incoming/field7/b.jpg")
    assert rescan(desk.ctx, f"s3://{desk.ctx.bucket}/incoming/field7/deep").objects == 1


def test_what_is_elsewhere_or_empty_is_refused_with_the_right_place(desk: Desk) -> None:
    own = desk.ctx.bucket
    for url, message in (
        ("s3://another/incoming/field7/", f"is not in the bucket of pipeline segment.*s3://{own}/incoming/PROJECT/"),
        (f"s3://{own}", "not below the incoming folder"),
        (f"s3://{own}/incoming/", "not below the incoming folder"),
        (f"s3://{own}/inputs/field7/", "not below the incoming folder"),
        (f"s3://{own}/incoming/field7/", "there is nothing below"),
    ):
        assert is_rescan(url)
        with pytest.raises(InputError, match=message):
            rescan(desk.ctx, url)
    assert desk.received(desk.ctx.event_queue_url) == []
    assert not is_rescan("./images")
