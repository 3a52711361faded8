"""How what was found out is shown: parts that draw themselves in a terminal, on a page and with matplotlib."""
