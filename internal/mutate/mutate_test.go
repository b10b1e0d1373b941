package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChoose(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"a/b", "c", "empty"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o750))
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "a/b/x.go"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(root, "c/x.go"), nil, 0o600))
	there := []held{{"a/b", 90, 90}, {"c", 90, 90}}
	got, err := choose(root, "", there)
	require.NoError(t, err)
	require.Equal(t, there, got)
	for _, name := range []string{"a/b", "./a/b", "a/b/", "./a/b/..."} {
		got, err = choose(root, name, there)
		require.NoError(t, err)
		require.Equal(t, there[:1], got)
	}
	_, err = choose(root, "a", there)
	require.ErrorContains(t, err, "a is not in the list of internal/mutate/list.go; choose one of a/b, c")
	_, err = choose(root, "", append(there, held{Dir: "gone"}, held{Dir: "empty"}))
	require.ErrorContains(t, err, "no Go files in gone, empty:")
}

// reportOf has changes of two files, so many of each status.
func reportOf(k, l, n, to int) []byte {
	one := func(status string, n int) string {
		return strings.Repeat(`{"line":3,"column":5,"type":"T","status":"`+status+`"},`, n)
	}
	return []byte(`{"test_efficacy":100,"files":[{"file_name":"x.go","mutations":[` + one(killed, k) + one(timedOut, to) +
		one(notViable, 1) +
		`{"status":"SKIPPED"}]},{"file_name":"y.go","mutations":[` + one(lived, l) + one(notCovered, n) + `{"status":"SKIPPED"}]}]}`)
}

func TestVerdict(t *testing.T) {
	h := held{Dir: "d", Efficacy: 90, Coverage: 80}
	for name, c := range map[string]struct {
		killed, lived, notCovered, timedOut int
		efficacy, coverage                  float64
		want                                string
	}{
		"all":                     {10, 0, 0, 0, 100, 100, ""},
		"just enough":             {9, 1, 2, 1, 90, 10. / 12 * 100, ""},
		"both just":               {72, 8, 20, 0, 90, 80, ""},
		"too few noticed":         {89, 11, 0, 0, 89, 100, "tests notice less than 90 %"},
		"too few run through":     {79, 0, 21, 0, 100, 79, "tests run through less than 80 %"},
		"nothing":                 {0, 0, 0, 0, 0, 0, "nothing was tried"},
		"no test runs through it": {0, 0, 5, 0, 0, 0, "nothing was tried"},
		"a few endless loops":     {90, 0, 0, 10, 100, 100, ""},
		"a few of a small room":   {20, 0, 0, 5, 100, 100, ""},
		"one more": {20, 0, 0, 6, 100, 100,
			"too many ran out of time: the machine is busy, or its tests wait on the clock"},
		"a busy machine": {89, 0, 0, 11, 100, 100,
			"too many ran out of time: the machine is busy, or its tests wait on the clock"},
	} {
		scores, err := read(h, reportOf(c.killed, c.lived, c.notCovered, c.timedOut))
		require.NoError(t, err, name)
		require.Len(t, scores, 1, name)
		s := scores[0]
		require.Equal(t, h, s.held)
		require.InDelta(t, c.efficacy, s.efficacy(), 1e-9, name)
		require.InDelta(t, c.coverage, s.coverage(), 1e-9, name)
		require.Equal(t, c.want, s.verdict(), name)
		require.Len(t, s.alive, c.lived+c.notCovered, name)
	}
	_, err := read(h, []byte("{"))
	require.ErrorContains(t, err, "report of d")
	none, err := read(h, []byte(`{"files":null}`))
	require.NoError(t, err)
	require.Len(t, none, 1)
	require.Equal(t, "nothing was tried", none[0].verdict())
}

// TestPackagesBelowAreJudgedEach by the bounds of the one above.
func TestPackagesBelowAreJudgedEach(t *testing.T) {
	one := func(file, status string) string {
		return `{"file_name":"` + file + `","mutations":[{"status":"` + status + `"}]}`
	}
	raw := `{"files":[` + one("b/x.go", lived) + "," + one("a.go", killed) + "," + one("b/y.go", killed) + `]}`
	got, err := read(held{"d", 90, 80}, []byte(raw))
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, held{"d", 90, 80}, got[0].held)
	require.Empty(t, got[0].verdict())
	require.Equal(t, held{"d/b", 90, 80}, got[1].held)
	require.InDelta(t, 50, got[1].efficacy(), 0)
}

func TestTable(t *testing.T) {
	good, err := read(held{"d", 90, 90}, reportOf(19, 1, 0, 1))
	require.NoError(t, err)
	bad, err := read(held{"d", 90, 90}, reportOf(1, 1, 1, 0))
	require.NoError(t, err)
	good[0].Dir, bad[0].Dir = "good", "bad"
	var out bytes.Buffer
	failures, err := table(&out, append(good, bad...))
	require.NoError(t, err)
	require.Equal(t, 1, failures)
	require.Regexp(t, `(?m)^ +95\.0 +100\.0 +19 +1 +0 +1 +good$`, out.String())
	require.Regexp(t, `(?m)^ +50\.0 +66\.7 +1 +1 +1 +0 +bad  FAIL: tests notice less than 90 %$`, out.String())
	require.Contains(t, out.String(), "bad: changes that no test of its own notices\n  d/y.go:3:5 LIVED T\n  d/y.go:3:5 NOT COVERED T\n")
	require.NotContains(t, out.String(), "good: changes")
}

func TestCopySources(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for _, name := range []string{"go.mod", "a/x.go", "a/bin/y.go", "out/sector", "bin/miner", ".git/HEAD"} {
		require.NoError(t, os.MkdirAll(filepath.Join(from, filepath.Dir(name)), 0o750))
		require.NoError(t, os.WriteFile(filepath.Join(from, name), []byte(name), 0o600))
	}
	require.NoError(t, copySources(from, to))
	for name, there := range map[string]bool{"go.mod": true, "a/x.go": true, "a/bin/y.go": true, "out": false, "bin": false,
		".git": false} {
		_, err := os.Stat(filepath.Join(to, name))
		require.Equal(t, there, err == nil, name)
	}
}

// gremlins stands in for the tool: it looks at how it is called, and reports.
func gremlins(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gremlins")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700)) //nolint:gosec // a program
	return path
}

// module is a module with one package of the list, and the place of the test.
func module(t *testing.T) (logs string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "chain/msgs"), 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "chain/msgs/x.go"), []byte("package msgs"), 0o600))
	t.Chdir(dir)
	return filepath.Join(dir, "logs")
}

func TestRun(t *testing.T) {
	logs := module(t)
	tool := gremlins(t, `echo "$@ CGO_ENABLED=$CGO_ENABLED"; test -f chain/msgs/x.go || exit 9
while [ "$1" != --output ]; do shift; done
echo '`+string(reportOf(10, 0, 0, 0))+`' > "$2"`)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-gremlins", tool, "-logs", logs, "-pkg", "chain/msgs", "-patience", "7"}, &out))
	require.Contains(t, out.String(), "chain/msgs\n")
	said, err := os.ReadFile(filepath.Join(logs, "chain-msgs.txt"))
	require.NoError(t, err)
	require.Regexp(t, `^unleash --workers 1 --timeout-coefficient 7 --output \S+ ./chain/msgs CGO_ENABLED=0\n$`, string(said))
	require.ErrorContains(t, run(t.Context(), []string{"-gremlins", tool, "-logs", logs}, &out), "no Go files in mining/guard")
}

func TestRunFails(t *testing.T) {
	logs := module(t)
	for script, want := range map[string]string{
		"exit 3": "chain/msgs: gremlins: exit status 3; do its tests pass?",
		"exit 0": "chain/msgs: gremlins wrote no report",
		`while [ "$1" != --output ]; do shift; done; echo '` + string(reportOf(8, 2, 0, 0)) +
			`' > "$2"`: "1 of 1 packages are below their bounds",
	} {
		var out bytes.Buffer
		err := run(t.Context(), []string{"-gremlins", gremlins(t, script), "-logs", logs, "-pkg", "chain/msgs"}, &out)
		require.ErrorContains(t, err, want)
	}
}

// TestBrokenOff: what was not tried to its end has no score, and nothing is left.
func TestBrokenOff(t *testing.T) {
	logs := module(t)
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	tool := gremlins(t, "trap 'exit 0' INT; touch '"+logs+"/started'; while :; do sleep 0.01; done")
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-gremlins", tool, "-logs", logs, "-pkg", "chain/msgs"}, io.Discard)
	}()
	for {
		if _, err := os.Stat(filepath.Join(logs, "started")); err == nil {
			break
		}
		runtime.Gosched()
	}
	cancel()
	err := <-ended
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "chain/msgs: broken off")
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
}
