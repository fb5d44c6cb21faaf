"""A playlist service that listens to ``emotion-events``: a worked example to copy.

``mood`` orders a queue, ``sessions`` remembers who hears what, ``service`` talks to Kafka. The first two know no Kafka.
"""
