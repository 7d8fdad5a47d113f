"""The publisher: it announces each requested output once, on the stream `OUTPUTS`. `state` decides; `service` talks to the bus."""
