"""Where only text can help: categories held out of training, product types, and products that nobody bought before."""
