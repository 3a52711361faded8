"""How long a run is: a budget of time, as it is written and as it is kept."""
