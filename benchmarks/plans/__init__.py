"""How good plans are: Headrace's planners and those of SAGA on published task graphs, each plan executed by an independent checker."""
