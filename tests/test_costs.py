"""Prices and estimates."""

from __future__ import annotations

import pytest

from gpupipe.costs import (
    FREE,
    INSTANCE_USD_PER_HOUR,
    instance_price,
    price_usd_per_hour,
    standing_cost,
    usd,
    usd_per_1000_items,
    volume_usd_per_month,
)
from gpupipe.errors import UsageError
from gpupipe.resources import KINDS


def test_the_list_price_at_home_is_exact_and_all_else_an_estimate() -> None:
    assert instance_price("g4dn.xlarge").usd_per_hour == 0.526
    assert not instance_price("g4dn.xlarge").is_estimate
    assert instance_price("g4dn.xlarge", market="spot").is_estimate
    assert instance_price("g4dn.xlarge", region="ap-southeast-2").is_estimate
    assert instance_price("g4dn.xlarge", region="xx-new-1").is_estimate


def test_spot_is_cheaper_and_far_away_is_dearer() -> None:
    home = price_usd_per_hour("g5.xlarge")

    assert price_usd_per_hour("g5.xlarge", "spot") < home
    assert price_usd_per_hour("g5.xlarge", "on-demand", "sa-east-1") > home


def test_larger_machines_of_a_family_with_as_many_gpus_cost_more() -> None:
    for family in ("g4dn", "g5", "g6", "g6e"):
        sizes = [INSTANCE_USD_PER_HOUR[f"{family}.{size}"] for size in ("xlarge", "2xlarge", "4xlarge", "8xlarge")]
        assert sizes == sorted(sizes)


def test_an_unknown_type_is_said_or_counts_nothing() -> None:
    assert price_usd_per_hour("p9.huge") == 0.0
    with pytest.raises(UsageError, match=r"p9\.huge"):
        instance_price("p9.huge")


def test_a_thousand_images_cost_their_share_of_the_hour() -> None:
    """14.4 s an image on a T4: the figure that people compare with."""
    assert usd_per_1000_items(14.4, 0.526) == pytest.approx(2.10, abs=0.01)


def test_a_disk_costs_while_its_machine_is_stopped() -> None:
    assert volume_usd_per_month(100) == 8.0


def test_most_of_a_stack_at_rest_is_free() -> None:
    dear = {kind: standing_cost(kind).usd_per_month for kind in KINDS if standing_cost(kind).usd_per_month}

    assert dear == {
        "alarm": 0.1,
        "event source": 0.26,
        "metric alarm": 0.1,
        "schedule": 0.1,
        "secret": 0.4,
        "state bucket": 0.01,
    }
    assert standing_cost("something new") == FREE
    assert standing_cost("schedule").usd_per_hour == pytest.approx(0.1 / 730)


def test_an_endpoint_costs_what_must_always_run() -> None:
    kept = {"instance_type": "ml.m5.xlarge", "instances": 2, "region": "us-east-1"}

    assert standing_cost("scalable target", kept).usd_per_hour == pytest.approx(0.46, rel=0.001)
    assert standing_cost("scalable target", {**kept, "instances": 0}).usd_per_month == 0
    assert "not known" in standing_cost("scalable target", {**kept, "instance_type": "ml.x9.large"}).usage


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "$0.00"), (0.526, "$0.526"), (0.0584, "$0.0584"), (2.1, "$2.10"), (1234.5, "$1,234")]
)
def test_amounts_are_written_with_the_digits_that_mean_something(amount: float, text: str) -> None:
    assert usd(amount) == text
