// Package ownaddr says under which address others reach what listens here.
//
// A listener on 0.0.0.0 or [::] is bound to every address of the machine, and is
// reached under none of the two: what is told to others, or written where commands
// look for it, must be an address that can be dialled. Which of several it is
// nobody but the operator knows; this package picks the likeliest and says that it
// did. It sends no packet and changes nothing.
package ownaddr
