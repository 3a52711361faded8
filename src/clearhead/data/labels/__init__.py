"""Labels of lines: what can be one."""
