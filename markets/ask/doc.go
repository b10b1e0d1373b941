// Package ask keeps the provider's current offer and signs it with the worker
// key when a client asks. The sequence number grows with every change and
// survives restarts. It judges no deal.
package ask
