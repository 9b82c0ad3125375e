"""Streaming detectors, pure numpy: rows in, alerts and valid reservoir intervals out."""
