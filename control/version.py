"""The version of the program; written into every snapshot."""

VERSION = "0.1.0"
