package build

import (
	"fmt"
	"runtime/debug"
)

// Version is the release of the suite, without build details.
const Version = "0.1.0"

// MinerAPIVersion packs the version of the API that the halves of a split miner
// speak as major<<16|minor<<8|patch (lotus api/version.go). Halves whose major
// and minor agree work together.
const MinerAPIVersion uint32 = 1<<16 | 0<<8 | 0

// UserVersion is Version with the commit the binary was built from, where known.
func UserVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version
	}
	var commit, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 8:
			commit = "+git." + s.Value[:8]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = ".dirty"
		}
	}
	if commit == "" {
		return Version
	}
	return Version + commit + dirty
}

// FormatAPIVersion prints a packed API version as major.minor.patch.
func FormatAPIVersion(v uint32) string {
	return fmt.Sprintf("%d.%d.%d", v>>16, v>>8&0xff, v&0xff)
}

// SameAPI tells whether two packed API versions agree in major and minor.
func SameAPI(a, b uint32) bool { return a>>8 == b>>8 }
