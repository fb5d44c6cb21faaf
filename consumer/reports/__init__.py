"""Reports for people: one self-contained HTML page each, from data that was measured."""
