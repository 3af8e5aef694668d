"""The terminal front end, ``flexpose-train``; the entry point is ``flexpose.cli.__main__``."""
