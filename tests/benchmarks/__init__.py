"""Measure speed and memory, alone and against the peers; README.md says how."""
