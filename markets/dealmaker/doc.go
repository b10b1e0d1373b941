// Package dealmaker is the client's side of the markets: it packs files into
// CARs, makes signed deal proposals, follows deals, and retrieves and verifies
// content. It trusts no provider: every retrieved block is hashed, asks are
// checked against the worker key.
//
// Keys stay with the wallet that is given; the package holds none. It speaks
// mk/1.2.1 with HTTP transfers only.
package dealmaker
