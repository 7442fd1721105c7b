"""Quality recipes: from process data, how good the product is, which channels pull it down, and where to move them."""
