"""The parts of a Transformer: every module takes explicit sizes and can be used alone."""
