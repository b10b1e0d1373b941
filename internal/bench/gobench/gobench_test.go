package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"quarry/internal/bench"
)

const printed = `goos: linux
pkg: quarry/proofs/sdr
BenchmarkLabels/8MiB/sectors=1/SHA-NI-2         	       1	 936555437 ns/op	   1139963 labels/s
BenchmarkLabels/8MiB/sectors=1/SHA-NI-2         	       1	 836555437 ns/op	   1400000 labels/s
BenchmarkLabels/8MiB/sectors=1/portable-2       	       1	2931131030 ns/op	     44728 labels/s
BenchmarkLabels/8MiB/sectors=2/SHA-NI-2         	       1	1288029134 ns/op	   2660000 labels/s
BenchmarkLabels/512MiB/sectors=1/SHA-NI
    bench_test.go:31: needs 3 GiB and minutes
BenchmarkSideBySide/ours/1_cores-2         	       1	 305688662 ns/op	 650.00 MB/s
BenchmarkSideBySide/hashhash/1_cores-2     	       1	 439473709 ns/op	 325.00 MB/s
BenchmarkHash/best/8-2         	    4903	    24000 ns/op	     24000 ns/hash	       0 B/op	       0 allocs/op
BenchmarkRow/best/8-2          	       1	 192690097 ns/op	      4800 ns/hash	     264 B/op	       2 allocs/op
BenchmarkOdd x y z
PASS
ok  	quarry/proofs/sdr	16.967s
`

// The best round counts, speeds upwards and times downwards, and everything is
// passed on.
func TestTable(t *testing.T) {
	var echo bytes.Buffer
	b := best{}
	require.NoError(t, b.read(strings.NewReader(printed), &echo))
	require.Equal(t, printed, echo.String())
	require.Equal(t, []row{
		{"labels of one sector, a thread (SHA-NI)", "1.40 M/s", "≥ 1.2 M/s"},
		{"labels of two sectors in step, a thread", "2.66 M/s", ""},
		{"  two in step against one", "1.90 ×", "≥ 1.8 ×"},
		{"CommP, a core", "0.650 GB/s", "≥ 0.33 GB/s"},
		{"  against go-fil-commp-hashhash", "2.00 ×", "≥ 1.5 ×"},
		{"Poseidon of arity 8, one by one", "24.0 µs", "≤ 45 µs"},
		{"  in rows", "4.8 µs, 5.0 ×", "≥ 3 ×"},
	}, rows(b, "SHA-NI"))
	require.Empty(t, rows(best{}, "SHA-NI"))

	var out bytes.Buffer
	require.NoError(t, printTable(&out, bench.Machine{CPU: "Abacus", Cores: 3},
		phaseRows("x", []bench.Phase{{Name: "PC1", Seconds: 1.5, CPU: 2.25, Peak: 3 << 30}})))
	require.Contains(t, out.String(), "Abacus, 3 cores")
	require.Contains(t, out.String(), "1.5 s (CPU 2.25 s), 3.0 GiB")
}

func TestRefuses(t *testing.T) {
	for _, args := range [][]string{{"-count", "0"}, {"-worker", "x"}, {"more"}, {"-nothing"}} {
		require.Error(t, run(context.Background(), args, &bytes.Buffer{}), args)
	}
	require.Error(t, run(context.Background(), []string{"-go", "/nonexistent/go"}, &bytes.Buffer{}))
}
