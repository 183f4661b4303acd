"""Networks shared by two or more families."""
