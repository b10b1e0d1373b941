// Command mutate changes the code of the packages that hold money or data, one
// condition or sum at a time, and asks each time whether the package's own tests
// notice. It is `make mutate`.
//
// The changes are made by gremlins, a tool that is not a dependency of this
// module; this command knows which packages are held to which bounds, gives the
// tool a copy of the sources without what was built, and judges what it reports.
// It changes nothing in the working tree.
package main
