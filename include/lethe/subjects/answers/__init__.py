"""Answers to requests of persons by e-mail: templates, sending, and the record that each was sent once."""

from __future__ import annotations

from lethe.subjects.answers.sending import Sent, send_answer, send_forward

__all__ = ["Sent", "send_answer", "send_forward"]
