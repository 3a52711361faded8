"""How translations are searched for: which sources together, by which rules, by one native call or by steps."""
