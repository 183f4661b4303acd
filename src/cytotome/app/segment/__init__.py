"""``cytotome segment``: the command, its run, and the folder of results."""
