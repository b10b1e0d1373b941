// Package redact takes out of an error what is nobody's business outside: paths,
// hosts, addresses and tokens of ours. It is used where an error crosses to
// clients and to the public half; logs and operators see errors whole.
//
// It is a net under texts that should not hold such things, not a reason to put
// them there: names that look like ordinary words it cannot know. It never makes a
// text longer than a small multiple, and does not judge what is a secret.
package redact
