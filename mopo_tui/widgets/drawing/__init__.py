"""A plot as a grid of characters and inks (no Textual).

12 ┤            legend        reference labels and
 8 ┤┈┈┈┈┈⠤⠒⠉┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈ ends of lines stand
 4 ┤  ⡠⠔⠁                      right of the plot
   └────────┬───────┬───────
   0       20k     40k  updates

What lies on top takes its whole cell, since a cell has one colour: areas, then lines behind, then lines, then bold ones, marks.
"""

from mopo_tui.widgets.drawing.crosshair import Reading, label_of, reading
from mopo_tui.widgets.drawing.grid import Grid, Ink
from mopo_tui.widgets.drawing.plots import draw

__all__ = ["Grid", "Ink", "Reading", "draw", "label_of", "reading"]
