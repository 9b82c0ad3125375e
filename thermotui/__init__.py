"""Watch the learning of a probabilistic model as the thermodynamic process that it is."""

__version__ = "0.1.0"
