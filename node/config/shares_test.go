package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every number of what can be open at once is at least one and not absurd, and the
// refusal names the key.
func TestCountsOfWhatIsOpen(t *testing.T) {
	c := Default()
	require.NoError(t, c.Validate())
	checked := 0
	for _, f := range fields(&c) {
		counts := strings.HasPrefix(f.name, "Max") && (f.section == "API" || f.section == "Libp2p" || strings.Contains(f.name, "Retrieval"))
		if !counts || f.value.Kind() != reflect.Uint64 || strings.HasSuffix(f.name, "Bytes") {
			continue
		}
		checked++
		was := f.value.Uint()
		for v, ok := range map[uint64]bool{0: false, 1: true, maxCount: true, maxCount + 1: false} {
			f.value.SetUint(v)
			err := c.Validate()
			require.Equal(t, ok, err == nil, "%s = %d: %v", f.key(), v, err)
			if !ok {
				require.ErrorContains(t, err, f.key()+": ")
			}
		}
		f.value.SetUint(was)
	}
	require.Equal(t, 15, checked)
	for v, ok := range map[uint64]bool{16<<20 - 1: false, 16 << 20: true, 1 << 40: true, 1<<40 + 1: false} {
		c.Libp2p.MaxMemoryBytes = v
		require.Equal(t, ok, c.Validate() == nil, v)
	}
	c.Subsystems.EnableMarkets = false
	require.NoError(t, c.Validate(), "nothing of the markets is open")
}
