"""The road: images, topic creation, Prometheus, Grafana, and the demo platform around the worker.

This room may import ``consumer.topics``, ``consumer.settings`` and ``consumer.events``.
"""
