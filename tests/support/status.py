"""Parts of a status, made up."""

from pmlive.manager.subscriptions import SubscriptionStatus

__all__ = ["subscription"]


def subscription(type_: str = "watch") -> SubscriptionStatus:
    return SubscriptionStatus(
        id="1",
        type=type_,
        channel="clob",
        created_at="2026-11-25T12:00:00+00:00",
        events_received=7,
        last_event=None,
        keys=3,
        dropped=0,
        awaited=[],
        left_out=[],
    )
