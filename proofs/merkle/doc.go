package merkle
