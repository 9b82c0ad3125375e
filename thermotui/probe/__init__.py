"""Measures a live PyTorch model: gradient noise and temperature per layer, autocorrelation, reversibility."""
