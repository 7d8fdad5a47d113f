"""Announces outputs that were asked for, once each, on the stream `OUTPUTS`. Decisions in `state`, the bus in `service`."""
