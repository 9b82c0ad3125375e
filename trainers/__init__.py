"""What `thermotui train` launches: families of parametric probabilistic models and the loop that trains them."""
