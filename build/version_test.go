package build

import (
	"strings"
	"testing"
)

func TestAPIVersion(t *testing.T) {
	if got := FormatAPIVersion(131840); got != "2.3.0" { // Lotus FullAPIVersion1 of v1.36.2
		t.Fatal(got)
	}
	if !SameAPI(0x010203, 0x0102ff) || SameAPI(0x010203, 0x010303) || SameAPI(0x010203, 0x020203) {
		t.Fatal("comparison looks at the wrong parts")
	}
	if !strings.HasPrefix(UserVersion(), Version) {
		t.Fatal(UserVersion())
	}
}
