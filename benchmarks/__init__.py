"""Engines side by side, peers side by side, and the quality beside every speed; see README.md."""
