"""How far translations may be trusted: what is learned on lines that have references, and used where there are none."""
