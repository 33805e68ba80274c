"""Campaigns: many compositions and hosts, run in shards here or on a cluster, and collected (docs/campaigns.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chggen_kit.campaign.campaign import Campaign
    from chggen_kit.campaign.spec import CampaignSpec

__all__ = ["Campaign", "CampaignSpec"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  classes
    # `chggen campaign status` reads the ledger without torch and pymatgen.
    if name == "Campaign":
        from chggen_kit.campaign.campaign import Campaign

        return Campaign
    if name == "CampaignSpec":
        from chggen_kit.campaign.spec import CampaignSpec

        return CampaignSpec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
