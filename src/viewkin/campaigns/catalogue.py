"""Every campaign by name."""

from __future__ import annotations

import difflib

from viewkin.campaigns import (
    papers,
    papers_in_full,
    studies_of_eir,
    studies_of_interclr,
    studies_of_others,
    twelve_epochs,
)
from viewkin.campaigns.campaign import Campaign
from viewkin.runtime.errors import UserError

CAMPAIGNS: dict[str, Campaign] = {
    campaign.name: campaign
    for campaign in (
        papers.CAMPAIGN,
        *studies_of_eir.CAMPAIGNS,
        *studies_of_interclr.CAMPAIGNS,
        *studies_of_others.CAMPAIGNS,
        papers_in_full.ALL_IMAGES,
        papers_in_full.FULL_CAMPAIGN,
        papers_in_full.IMAGENET_CAMPAIGN,
        twelve_epochs.CAMPAIGN,
    )
}
"""Name to campaign."""


def campaign_named(name: str) -> Campaign:
    """Give a campaign by name.

    Raises:
        UserError: there is none; the nearest are named.
    """
    if name not in CAMPAIGNS:
        near = difflib.get_close_matches(name, CAMPAIGNS, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else "'viewkin reproduce' lists them."
        raise UserError(f"There is no campaign {name!r}; {hint}")
    return CAMPAIGNS[name]
