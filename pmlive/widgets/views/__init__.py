"""What charts and tables show, as plain values: pure functions of frames and books, without a widget in them."""

from pmlive.widgets.views.common import Numbers, View
from pmlive.widgets.views.depth import DepthView, depth_view
from pmlive.widgets.views.heat import HeatView, heat_view
from pmlive.widgets.views.price import PriceView, price_view
from pmlive.widgets.views.status import RecordingView, StatusView, recording_view, status_view
from pmlive.widgets.views.tape import TapeView, tape_view

__all__ = [
    "DepthView",
    "HeatView",
    "Numbers",
    "PriceView",
    "RecordingView",
    "StatusView",
    "TapeView",
    "View",
    "depth_view",
    "heat_view",
    "price_view",
    "recording_view",
    "status_view",
    "tape_view",
]
