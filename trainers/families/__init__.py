"""One file per family of parametric probabilistic model, one protocol (ppm.py)."""
