"""The small widgets that the views are made of."""
