// Package clitest holds what every command of ours is tested for. It is for tests
// only.
package clitest
