package paramcache

import "fmt"

// MissingError says that parameters are not on this machine.
type MissingError struct {
	Name string // without extension
	Dir  string
	Hint string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("no parameters %s in %s: %s", e.Name, e.Dir, e.Hint)
}

// DamagedError says that a parameter file is not what it should be. It is not
// touched.
type DamagedError struct {
	Path   string
	Reason string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("parameter file %s is not usable: %s; remove it and fetch or generate it again", e.Path, e.Reason)
}
