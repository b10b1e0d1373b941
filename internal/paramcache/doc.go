// Package paramcache keeps the parameters of Filecoin's Groth16 circuits on disk
// and hands them out, mapped into memory.
//
// There are two kinds of parameter file. Published ones come from the ceremony of
// the public networks; their names, sizes and digests are compiled in, and a file
// is used only when its digest is right. Generated ones are made here, for an
// embedded devnet, and live in a directory of their own below the first: whoever
// makes parameters could forge proofs with them, so no other network may see
// them used.
//
//	<dir>/v28-….params, .vk          published, as rust-fil-proofs names them
//	<dir>/devnet/v28-….params, .vk   generated here
//	<dir>/checked/v28-….json         what a whole-file check found
//
// The directory is FIL_PROOFS_PARAMETER_CACHE, else one in the user's cache.
//
// The package refuses to fetch anything, to use a file it has not checked, and to
// know circuits: it is given names and what to generate.
package paramcache
