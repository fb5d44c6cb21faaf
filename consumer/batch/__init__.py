"""Classifying a catalogue in batch: inputs -> journal -> the same analysis as the stream's -> one row a track.

Every result is in a journal (SQLite) before the next track is taken, so that a run that is killed is resumed with
nothing done twice and nothing missing; the output file is written from it, whole or not at all.
"""
