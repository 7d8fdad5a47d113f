"""Plans jobs, releases windows to hosts in plan order, finds new places for what was lost. Decisions in `state`, the bus in `service`."""
