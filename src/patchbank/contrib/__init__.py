"""Bridges to other tools, all optional."""
