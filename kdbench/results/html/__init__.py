"""The leaderboards as one folder that opens from disk: a page without a server, a network or a build."""

from __future__ import annotations

from kdbench.results.html.page import write_page

__all__ = ["write_page"]
