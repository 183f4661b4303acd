"""``cytotome compare``: the command, its run, the scores of each method, the page."""
