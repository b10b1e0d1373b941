// Package api declares what the processes of the suite say to each other: one
// small interface per subsystem, the types on the wire, the permissions each
// method needs and the errors that cross RPC intact.
//
// It holds no behaviour beyond encoding. It imports nothing else of the
// project, and never the network libraries, so that a worker that needs three
// methods links three methods' worth of code.
package api
