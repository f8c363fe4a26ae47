"""What a message that cannot be used raises; knows no message type."""

from __future__ import annotations


class MessageError(ValueError):
    """A message cannot be used: says what came, what was expected and what to do."""
