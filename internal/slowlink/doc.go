// Package slowlink is a TCP proxy on the loopback address that stands in for a
// bad network: it delays bytes both ways and can be cut, silently, as when a
// cable is pulled. Bytes are never changed, reordered or lost on a link that is
// healed in time; it is no tool for hostile networks.
package slowlink
