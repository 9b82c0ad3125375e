"""Markov chain Monte Carlo of K members at once: block Gibbs, Langevin with and without Metropolis, annealing."""
