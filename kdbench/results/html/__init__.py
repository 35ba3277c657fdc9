"""The leaderboards as a page that opens from disk, without a server, a network or a build."""

from __future__ import annotations

from kdbench.results.html.page import write_page

__all__ = ["write_page"]
