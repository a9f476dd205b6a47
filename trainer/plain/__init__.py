"""Plain BERT over the text of the behaviour window: the reference for quality and cost of the two-stage model."""
