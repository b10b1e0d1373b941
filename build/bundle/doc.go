// Command bundle puts the official built-in actors where the VM compiles them
// in. It takes the archives from the lotus Go module by exact version, outside
// this module's build list, checks every block and the manifests, and writes
// gzip-compressed CARs. It changes nothing when they are present and intact.
//
// It refuses archives with another manifest than the one named here.
package main
