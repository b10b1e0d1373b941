// Package paramcache keeps the parameters of Filecoin's Groth16 circuits on disk
// and hands them out, mapped into memory; a page that cannot be read fails the proof
// that needed it and nothing else.
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
//	<dir>/devnet/v28-….json          what was generated: size and digest
//	<dir>/checked/v28-….json         what a whole-file check found
//
// A large file is read whole the first time; what that found holds for the very
// same file only, and is kept where nobody but this user writes: beside the
// parameters or, where those lie in a directory of others or one that cannot be
// written, in the user's cache. Keys are small and compared every time.
//
// The directory is FIL_PROOFS_PARAMETER_CACHE, else one in the user's cache.
//
// The package refuses to fetch anything, to use a file it has not checked, and to
// know circuits: it is given names and what to generate.
package paramcache
