"""The host: an agent that works through its window, its runners, and the transfer of datasets between hosts."""
