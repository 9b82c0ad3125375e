"""Run logs out to other tools' formats, and other tools' files in."""
