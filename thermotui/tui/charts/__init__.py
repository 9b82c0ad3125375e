"""Charts in cells: pure rendering in numpy, and the widgets that repaint only the cells that changed."""
