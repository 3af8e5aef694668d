"""FlexPose: few-shot adaptation of pose distributions, headless."""

__version__ = "0.1.0"
