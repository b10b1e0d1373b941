// Package config is the file an operator edits: its keys (Lotus's names), their
// defaults and documentation, the environment that overrides them and the
// combinations that cannot work.
//
// It is strict: an unknown or misspelt key is an error. It never writes the
// file of a user. It imports no subsystem; node maps its fields onto them.
package config
