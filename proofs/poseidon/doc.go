package poseidon
