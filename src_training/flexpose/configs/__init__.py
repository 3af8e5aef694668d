"""Configs of all jobs: pydantic, without torch."""
