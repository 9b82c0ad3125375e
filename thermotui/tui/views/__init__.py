"""The views, one file each: what a view asks of the log and how it shows the answer."""
