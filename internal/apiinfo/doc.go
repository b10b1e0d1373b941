// Package apiinfo reads API infos: TOKEN:ADDRESS, what one process is told of
// another in a flag, an environment variable such as MINER_API_INFO, or the config.
//
// It is the one place that takes such a string apart. It is strict: what is not
// exactly one token and one address is refused with the mistake named, because a
// token taken for a host would be sent to a name server. No error, and nothing
// that an Info prints, holds any part of what was given. The package neither
// dials nor judges tokens.
package apiinfo
