"""Learning without labels: interest clusters over user vectors, and pre-training on unlabelled behaviours."""
