// Package kernel is the seam below the proofs at which a device can take over the
// four kinds of work that nearly all of their time goes to: labels of layers,
// hashing of trees, sums of points times scalars, and transforms over the scalar
// field. Each kind is an interface of its own (Labels, Trees, Points,
// Transforms); a Set names a backend for each, and a nil one is the CPU.
//
// The CPU's code lives where it always was, in sdr, merkle and groth16; package
// kernel/cpu names it as a Set. Package kernel/kerneltest is what every backend
// has to pass: golden vectors and slow references that share no code with it.
//
// # Rules for all backends
//
// Numbers. A field element is an fr.Element of gnark-crypto: four limbs of 64
// bits, the lowest first, in Montgomery form (times 2^256), reduced. Points are
// affine with coordinates in the same form (fp.Element, six limbs, times 2^384);
// (0, 0) is infinity. Labels and nodes of SHA-256 trees are 32 plain bytes. All
// results are exact: the same bits as the CPU's.
//
// Memory. Slices belong to the caller. A backend reads and writes them during the
// call only, keeps none of them, changes only what it is said to change, and may
// copy them to memory of its own. Arguments that are written do not overlap with
// others. A call that fails may leave anything in what it writes, except where it
// refused.
//
// Refusing. Arguments that make no sense are an ErrInput, and what this backend
// cannot do (a size, a width, too little memory on the device) is an
// ErrUnsupported; both before anything is changed or any callback is called.
// After ErrUnsupported the CPU does the work, which the Or functions see to. Every
// other error ends the work: a device that fails in the middle is told to the
// operator and not worked around in silence.
//
// Ending. A call whose context has ended returns the context's error, and does so
// before it changes anything if that was so at the start. Later it looks at the
// context between pieces of a few seconds at most.
//
// Concurrency. All methods may be called from many goroutines at once. workers is
// how many threads of the host the call may use, below 1 counts as 1; a device's
// own threads do not count.
//
// The package knows no device, opens none, and keeps no list of them: whoever
// starts the program makes a Set and hands it down. It has no configuration, no
// log, and no state.
package kernel
