"""Keyframe: snapshots of a web application, its files and its MongoDB database at one instant, and their restore."""

__version__ = "0.1.0"
