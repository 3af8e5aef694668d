"""The paper's experiments, and ours: YAML files beside this one, run by ``reproduce``."""
