// Package gas is the gas schedule of the VM: prices by network version, the
// tracker that counts them, and the sharing out of fees after a message.
//
// Amounts inside are milligas (1 gas = 1000). It knows neither actors nor
// messages.
package gas
