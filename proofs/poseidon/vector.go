package poseidon

import "github.com/consensys/gnark-crypto/utils/cpu"

// vectorUnit tells whether fr.Vector multiplies with vector instructions; where
// it does not, hashing one state at a time is faster.
var vectorUnit = cpu.SupportAVX512IFMA
