"""What a translator is trained on: one corpus or several, and the directions that follow from them."""
