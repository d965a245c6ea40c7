"""Beside a machine: folders that are watched, and where results are sent."""
