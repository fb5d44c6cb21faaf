"""The stream: track events in, emotion events out, nothing lost between.

This room knows Kafka, Faust, audio locations and metrics. It may import ``features`` and ``model``; it knows no
signal processing and fits nothing.
"""
