//go:build !linux

package inputfile

func pseudo(string) string { return "" }
