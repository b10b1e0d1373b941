// Package circuit is the four statements that a storage provider proves to the
// chain in zero knowledge, as circuits over package r1cs, and the names of the
// parameters they are proven with.
//
// Each circuit says what the verifier of the vanilla proof of the same name says
// (packages porep, post and update), in constraints. Public inputs are written
// in brackets:
//
//	winning and window PoSt, for each sector
//
//	  leaf ──path in tree-r-last──> comm_r_last ─┐
//	        [leaf number]                        ├─Poseidon─> [comm_r]
//	                              comm_c ────────┘
//
//	PoRep, for each challenged node c
//
//	  data leaf ──path in tree-d──> [comm_d]        [c]
//	      │
//	      │        6 base and 8 expansion parents, for each:
//	      │          labels ─Poseidon─> leaf ──path in tree-c──> comm_c
//	      │             │                    [parent's number]
//	      │             │ 37 labels, repeated
//	      │             v
//	      │   [replica_id], layer, [c] ─SHA-256─> label of layer 1 … L
//	      │                                         │            │
//	      +────────────(+)──── last label ──────────┤            │
//	                    │                           │         Poseidon
//	                    v                           │            v
//	              replica leaf ──path in tree-r-last│──> │  leaf ──path in tree-c──>
//	                    [c]         comm_r_last ────┘    │   [c]        comm_c
//	                                     └──Poseidon with comm_c──> [comm_r]
//
//	update, for each challenge c drawn from comm_r_new
//
//	  [k and h] = partition and the choice of h
//	  phi = Poseidon([comm_d_new], [comm_r_old])
//	  rho = Poseidon(phi, top h bits of c)
//	  old leaf + data leaf * rho = new leaf
//	     │          │                 └──path in the new tree-r-last, comm_c──> [comm_r_new]
//	     │          └──path to an apex leaf, apex tree, partition path──> [comm_d_new]
//	     └──path in the old tree-r-last, comm_c──> [comm_r_old]
//
// The circuits do not know where parents or PoSt challenges come from: positions
// on paths are public inputs, and the verifier computes what they must be from
// the graph and the chain's randomness. XxxInputs does that. Only the update
// circuit draws its challenges itself.
//
// Order of allocation and of constraints is that of rust-fil-proofs, so that the
// published parameters fit; the digests of all circuits of all sector sizes are
// compared with the reference's in the tests.
//
// Sizes in constraints of one partition:
//
//	          2 KiB      8 MiB       512 MiB     32 GiB       64 GiB
//	PoRep     2,687,921  3,844,929   4,423,433   130,278,541  131,185,849
//	winning   90,750     230,670     300,630     370,590      391,314
//	window    21,866     64,266      85,466      125,279,217  129,887,900
//	update    1,705,039  10,007,503  57,450,479  81,049,499   85,006,101
//
// The package makes no proof and reads no file. It refuses to fill a circuit from
// a vanilla proof that does not verify.
package circuit

import "errors"

// ErrVanilla is the cause when a vanilla proof is not about the statement.
var ErrVanilla = errors.New("the vanilla proof is wrong")
