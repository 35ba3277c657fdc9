"""Records, statistics, leaderboards and the web page."""
