"""The physics, pure numpy: the ledger of work, heat, entropy production and information, and its estimators."""
