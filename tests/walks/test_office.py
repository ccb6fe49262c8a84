"""An office with floor plans: rooms by an endpoint, twice over, with files among them that are no plans."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import pytest
from tests.e2e.conftest import eventually
from tests.walks.transcript import Walk

PLANS = Path(str(resources.files("gpupipe.examples"))) / "plans"


def gather_plans(folder: Path) -> None:
    """Three plans, one that was cut off when it was copied, a letter that is called like a picture, and notes."""
    folder.mkdir()
    for plan in PLANS.glob("*.png"):
        shutil.copy(plan, folder)
    (folder / "attic.png").write_bytes((PLANS / "house.png").read_bytes()[:300])
    (folder / "letter.png").write_text("Dear tenants,\n")
    (folder / "notes.txt").write_text("Ask for the cellar.\n")
    (folder / "offer.docx").write_text("An offer.\n")


@pytest.mark.exhaustive
def test_from_floor_plans_to_rooms(walk: Walk) -> None:
    folder = walk.person.folder
    gather_plans(folder / "plans")
    walk.may_hear(
        """
        JOB: submitted
        JOB: pending
        JOB: running
        JOB: finished
        N of N images
        N of N images, N FAILED
        N of N images, N rooms found
        N of N images, N rooms found, N FAILED
        N images/s
        N images/s, N s left
        engine opencv-rooms
        Creating
        Updating
        InService
        main: N of N ml.m5.xlarge
        main: N instance ml.m5.xlarge
        main: N instances ml.m5.xlarge
        main/N ml.m5.xlarge on-demand, launched for N s
        main/N ml.m5.xlarge on-demand, running for N s
        up to N request queued or in work lately
        up to N requests queued or in work lately
        cost: nothing here, about $N on AWS
        Submitted, waiting for dispatch.
        Waiting for the guard's first look, which comes within a minute.
        Waiting for the endpoint's first instance; from zero it takes a few minutes.
        Waiting for the endpoint to take a shard.
        The endpoint was asked for N x ml.m5.xlarge
        from none this takes N to N minutes.
        Variant main grows from N to N x ml.m5.xlarge, which takes N to N minutes.
        """
    )
    walk.goes(
        """
        $ gpupipe init --kind endpoint --name office
        wrote FOLDER/gpupipe.toml; next: `gpupipe plan`, then `gpupipe up`
        $ gpupipe up --yes
        2>     what                                                               change   $/month
        2> ───────────────────────────────────────────────────────────────────────────────────────
        2> +   state bucket office-dev-state-ACCOUNT-us-east-1                           N
        2> +   table office-dev-ledger
        2> +   bucket office-dev-rooms-data-ACCOUNT-us-east-1
        2> +   queue office-dev-rooms-events
        2> +   queue office-dev-rooms-undelivered
        2> +   topic office-dev-rooms-errors
        2> +   topic office-dev-rooms-success
        2> +   log group /aws/lambda/office-dev-rooms-callback
        2> +   log group /aws/lambda/office-dev-rooms-dispatch
        2> +   log group /aws/lambda/office-dev-rooms-guard
        2> +   log group /aws/sagemaker/Endpoints/office-dev-rooms-endpoint
        2> +   model office-dev-rooms-main-HASH
        2> +   role office-dev-rooms-callback
        2> +   role office-dev-rooms-dispatch
        2> +   role office-dev-rooms-endpoint
        2> +   role office-dev-rooms-guard
        2> +   role office-dev-rooms-schedule
        2> +   endpoint config office-dev-rooms-endpoint-HASH
        2> +   endpoint office-dev-rooms-endpoint
        2> +   function office-dev-rooms-callback
        2> +   function office-dev-rooms-dispatch
        2> +   function office-dev-rooms-guard
        2> +   bucket notification office-dev-rooms-data-ACCOUNT-us-east-1
        2> +   event source office-dev-rooms-events                                           N
        2> +   metric alarm office-dev-rooms-failing-main                                     N
        2> +   metric alarm office-dev-rooms-idle-main                                        N
        2> +   metric alarm office-dev-rooms-waiting-main                                     N
        2> +   queue policy office-dev-rooms-events
        2> +   scalable target endpoint/office-dev-rooms-endpoint/variant/main
        2> +   scaling policy office-dev-rooms-rest-main
        2> +   scaling policy office-dev-rooms-track-main
        2> +   scaling policy office-dev-rooms-wake-main
        2> +   schedule office-dev-rooms-guard                                                N
        2> +   subscription office-dev-rooms-errors
        2> 34 to create.
        2> Standing cost about $N a month, used or not.
        2> EmulatedAccount: nothing is billed. The prices are what it would cost on AWS.
        2> rooms: no instance runs until there is work: $0 at rest. SageMaker starts an instance of each variant
            ... when the endpoint is made or deployed anew; scaling takes it away. One ml.m5.xlarge (us-east-1)
            ... costs $N an hour while it runs, about $N per 1,000 images. At most 2 at once. Prices of 2026-11.
        rooms.bucket = office-dev-rooms-data-ACCOUNT-us-east-1
        rooms.table = office-dev-ledger
        rooms.endpoint = office-dev-rooms-endpoint
        rooms.success_topic_arn = arn:aws:sns:us-east-1:ACCOUNT:office-dev-rooms-success
        rooms.error_topic_arn = arn:aws:sns:us-east-1:ACCOUNT:office-dev-rooms-errors
        The stack is up. Next: `gpupipe submit FOLDER --project NAME`
        """
    )
    walk.goes(
        """
        $ gpupipe run plans --project house -o rooms
        2> 5 images in 5 shards: 5 uploaded (N MB), 0 were there already
        2> passed over: 1 sidecar file, 1 not an image by its name (plans/offer.docx)
        2> job JOB1
        3 done, 2 failed, 33 annotations
        6 files fetched (N MB), 0 were here already
        failed:   1 image (truncated): The file ends early, usually after a broken copy: copy it from its source
            ... again, and submit it.
        failed:   1 image (unsupported): Convert it to JPEG, PNG, WebP or TIFF, and submit it.
        failures: rooms/failures.json
        COCO:     rooms/annotations.json
        report:   FOLDER/rooms/report.html
        (exit 3)
        """
    )
    failures = json.loads((folder / "rooms" / "failures.json").read_text())
    codes = {one["file_name"]: one["code"] for one in failures}
    assert codes == {"attic.png": "truncated", "letter.png": "unsupported"}
    walk.goes(
        """
        $ gpupipe run plans --project house -o rooms
        2> error: rooms holds the results of job JOB1, and those of a new job do not go there.
        2>   Choose another folder with -o, or bring what is missing of those with `gpupipe fetch JOB1 -o rooms`.
            ... Nothing was submitted.
        (exit 2)
        $ gpupipe run plans --project house -o rooms-2
        2> 5 images in 5 shards: 0 uploaded (N MB), 5 were there already
        2> passed over: 1 sidecar file, 1 not an image by its name (plans/offer.docx)
        2> a new job: JOB1 of the same images is over; `gpupipe fetch JOB1` brings what came of it
        2> job JOB2
        3 done, 2 failed, 33 annotations
        6 files fetched (N MB), 0 were here already
        failed:   1 image (truncated): The file ends early, usually after a broken copy: copy it from its source
            ... again, and submit it.
        failed:   1 image (unsupported): Convert it to JPEG, PNG, WebP or TIFF, and submit it.
        failures: rooms-2/failures.json
        COCO:     rooms-2/annotations.json
        report:   FOLDER/rooms-2/report.html
        (exit 3)
        $ gpupipe jobs
        job                          state      images   done   failed   found
        ──────────────────────────────────────────────────────────────────────
        JOB2   finished        5      3        2      33
        JOB1   finished        5      3        2      33
        $ gpupipe open JOB1
        2> job JOB1
        2> note: no browser could be started here; open it yourself: file://FOLDER/rooms/report.html
        FOLDER/rooms/report.html
        $ gpupipe open
        2> job JOB2
        2> note: no browser could be started here; open it yourself: file://FOLDER/rooms-2/report.html
        FOLDER/rooms-2/report.html
        """
    )
    # while a job of the same plans is open, the same command attaches to it
    walk.goes(
        """
        $ gpupipe submit plans --project house --hold
        2> 5 images in 5 shards: 0 uploaded (N MB), 5 were there already
        2> passed over: 1 sidecar file, 1 not an image by its name (plans/offer.docx)
        2> a new job: JOB2 of the same images is over; `gpupipe fetch JOB2` brings what came of it
        2> held: no machine starts for it before `gpupipe start`
        JOB3
        """
    )
    eventually("dispatch has taken it up", lambda: walk.person.jobs("house")[0]["state"] == "held")
    walk.goes(
        """
        $ gpupipe submit plans --project house
        2> 5 images in 5 shards: 0 uploaded (N MB), 5 were there already
        2> passed over: 1 sidecar file, 1 not an image by its name (plans/offer.docx)
        2> attached to job JOB3 of the same images, which is held: nothing is started or paid twice; --again makes
            ... another job
        2> held: no machine starts for it before `gpupipe start`
        JOB3
        $ gpupipe cancel JOB3
        JOB3 is cancelled: 5 images given up, 0 done before
        $ gpupipe open JOB3
        2> error: there are no results of job JOB3 on this machine, as far as gpupipe knows.
        2>   Fetch them with `gpupipe fetch JOB3 --open`; those in another folder open with `gpupipe open -o
            ... FOLDER`.
        (exit 1)
        $ gpupipe invoke plans/cottage.png
        room      area     x     y   width   height   corners
        ─────────────────────────────────────────────────────
           1    97,137   124   122     513      230         6
           2    32,455   643   124     146      229         4
           3    16,108   124   264     190       85         4
           4    16,688   123   360     110      156         4
           5   151,185   237   360     547      437         6
           6    82,371   524   362     262      321         4
           7    28,625   121   528     111      267         4
        plans/cottage.png: 7 rooms, in N s by variant main
        $ gpupipe invoke plans/letter.png
        2> error: plans/letter.png is not an image: its content is not that of a .png file, nor of another image.
        2>   Leave it out, or export it again.
        (exit 2)
        $ gpupipe down --yes
        2>     what                                                               change   $/month
        2> ───────────────────────────────────────────────────────────────────────────────────────
        2> -   bucket notification office-dev-rooms-data-ACCOUNT-us-east-1
        2> -   event source office-dev-rooms-events
        2> -   metric alarm office-dev-rooms-failing-main
        2> -   metric alarm office-dev-rooms-idle-main
        2> -   metric alarm office-dev-rooms-waiting-main
        2> -   queue policy office-dev-rooms-events
        2> -   scalable target endpoint/office-dev-rooms-endpoint/variant/main
        2> -   scaling policy office-dev-rooms-rest-main
        2> -   scaling policy office-dev-rooms-track-main
        2> -   scaling policy office-dev-rooms-wake-main
        2> -   schedule office-dev-rooms-guard
        2> -   subscription office-dev-rooms-errors
        2> -   function office-dev-rooms-callback
        2> -   function office-dev-rooms-dispatch
        2> -   function office-dev-rooms-guard
        2> -   endpoint office-dev-rooms-endpoint
        2> -   endpoint config office-dev-rooms-endpoint-HASH
        2> -   model office-dev-rooms-main-HASH
        2> -   role office-dev-rooms-callback
        2> -   role office-dev-rooms-dispatch
        2> -   role office-dev-rooms-endpoint
        2> -   role office-dev-rooms-guard
        2> -   role office-dev-rooms-schedule
        2> -   log group /aws/lambda/office-dev-rooms-callback
        2> -   log group /aws/lambda/office-dev-rooms-dispatch
        2> -   log group /aws/lambda/office-dev-rooms-guard
        2> -   log group /aws/sagemaker/Endpoints/office-dev-rooms-endpoint
        2> -   table office-dev-ledger
        2> -   bucket office-dev-rooms-data-ACCOUNT-us-east-1
        2> -   queue office-dev-rooms-events
        2> -   queue office-dev-rooms-undelivered
        2> -   topic office-dev-rooms-errors
        2> -   topic office-dev-rooms-success
        2> -   state bucket office-dev-state-ACCOUNT-us-east-1
        2> 34 to delete.
        Deleted 34 things.
        Searched the account for leftovers by tag and by name: none.
        """
    )
