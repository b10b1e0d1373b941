package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func call(t *testing.T, args ...string) (string, error) {
	t.Setenv("FULLNODE_API_INFO", "")
	var out bytes.Buffer
	err := newApp(&out).RunContext(context.Background(), append([]string{"miner-client"}, args...))
	return out.String(), err
}

func TestCarAndCommpAgree(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(file, bytes.Repeat([]byte("quarry "), 1000), 0o600))
	text, err := call(t, "car", "--json", file)
	require.NoError(t, err)
	var packed, again carJSON
	require.NoError(t, json.Unmarshal([]byte(text), &packed))
	text, err = call(t, "commp", "--json", file+".car")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(text), &again))
	require.Equal(t, packed, again)
	require.NotEmpty(t, packed.Root)
	text, err = call(t, "commp", file+".car")
	require.NoError(t, err)
	require.Contains(t, text, packed.PieceCID.String())
}

func TestMistakesAreNamed(t *testing.T) {
	for want, args := range map[string][]string{
		"no full node is named":            {"ask", "f01000"},
		"want exactly one argument":        {"ask"},
		"address \"x\"":                    {"ask", "x"},
		"--until \"later\"":                {"deal", "--until", "later", "f01000"},
		"--provider is missing":            {"status", "00112233-4455-6677-8899-aabbccddeeff"},
		"deal UUID \"x\"":                  {"status", "--provider", "f01000", "x"},
		"root CID \"x\"":                   {"retrieve", "--url", "http://x", "-o", "y", "x"},
		"--url is missing":                 {"retrieve", "bafkqaaa"},
		"no such file":                     {"car", "/does/not/exist"},
		"read key":                         {"wallet", "import", "/does/not/exist"},
		"want exactly one argument: an ad": {"wallet", "export"},
	} {
		_, err := call(t, args...)
		require.ErrorContains(t, err, want, "%v", args)
	}
}
