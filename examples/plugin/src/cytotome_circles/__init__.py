"""An example of a plugin for cytotome."""
