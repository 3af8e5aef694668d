"""Measures, tables and figures."""
