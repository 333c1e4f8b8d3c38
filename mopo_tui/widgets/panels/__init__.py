"""What each panel shows of a run or of groups of seeds, as a plot with a title: pure functions of what was read (no Textual).

Every panel takes groups: a run alone is a group of one (`alone`), the seeds of a setting are one group, and several groups are laid
over each other. Of a group there is the mean, the band between its lowest and its highest seed, and a thin line for each.
"""

from mopo_tui.widgets.panels.options import Options, Panel, axes
from mopo_tui.widgets.panels.table import EVERY_PANEL, PANELS, TITLES, choices, panel, panels

__all__ = ["EVERY_PANEL", "PANELS", "TITLES", "Options", "Panel", "axes", "choices", "panel", "panels"]
