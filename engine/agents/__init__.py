"""Agents: networks and one function per equation."""
