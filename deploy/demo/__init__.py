"""The demo: a platform that plays music, and a playlist service that listens to emotions."""
