"""The version, where every layer may ask for it."""

VERSION = "0.1.0"
