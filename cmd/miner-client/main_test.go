package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/stretchr/testify/require"

	"quarry/internal/command"
	"quarry/markets/wire"
)

func call(t *testing.T, args ...string) (string, error) {
	t.Setenv("FULLNODE_API_INFO", "")
	var out bytes.Buffer
	err := command.Run(t.Context(), newApp(&out), append([]string{"miner-client"}, args...))
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
		"--start-delay 0":                  {"deal", "--file", "x", "f01000", "--start-delay", "0"},
		"--duration -5":                    {"deal", "--file", "x", "f01000", "--duration=-5"},
		"exactly one of --file and --car":  {"deal", "f01000"},
		"--http-url goes with --car":       {"deal", "f01000", "--file", "x", "--http-url", "http://h/x"},
		`--http-url "h/x" is not a URL`:    {"deal", "f01000", "--car", "x", "--http-url", "h/x"},
		"--advertise has no effect beside": {"deal", "f01000", "--car", "x", "--http-url", "http://h/x", "--advertise", "h"},
		`--url "host:80" is not a URL`:     {"retrieve", "bafkqaaa", "-o", "x", "--url", "host:80"},
		`--url "http://" is not a URL`:     {"retrieve", "bafkqaaa", "-o", "x", "--url", "http://"},
		"is a character device":            {"deal", "f01000", "--car", "/dev/zero"},
		"is a directory":                   {"commp", "/"},
		"not a regular file; copy what it": {"car", "/dev/null"},
		"/dev/null is a character device":  {"wallet", "import", "/dev/null"},
		`--piece-size "100": it is less`:   {"commp", "f", "--piece-size", "100"},
		`--piece-size "192": it is no po`:  {"commp", "--piece-size", "192", "f"},
		`"stray" is one too many`:          {"wallet", "list", "stray"},
	} {
		_, err := call(t, args...)
		require.ErrorContains(t, err, want, "%v", args)
	}
}

// A deal's status is asked for with the key that made it, whichever that is.
func TestStatusFindsTheKeyOfTheDeal(t *testing.T) {
	var keys []address.Address
	for i := range uint64(3) {
		a, err := address.NewIDAddress(100 + i)
		require.NoError(t, err)
		keys = append(keys, a)
	}
	down := errors.New("connection refused")
	for name, c := range map[string]struct {
		keys  []address.Address
		owner address.Address
		fail  error
		asked int
		want  string
	}{
		"first":   {keys, keys[0], nil, 1, ""},
		"last":    {keys, keys[2], nil, 3, ""},
		"none":    {keys[:2], keys[2], nil, 2, "none of the 2 keys"},
		"named":   {keys[:1], keys[2], nil, 1, "was not made by " + keys[0].String()},
		"away":    {keys, keys[2], down, 1, "connection refused"},
		"no keys": {nil, keys[0], nil, 0, "none of the 0 keys"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			st, err := firstAccepted(c.keys, func(k address.Address) (*wire.DealStatusResponse, error) {
				asked++
				switch {
				case c.fail != nil:
					return nil, c.fail
				case k != c.owner:
					return nil, errors.New(notYours)
				}
				return &wire.DealStatusResponse{}, nil
			})
			require.Equal(t, c.asked, asked)
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				return
			}
			require.NoError(t, err)
			require.NotNil(t, st)
		})
	}
}

// A size of the piece that the payload does not fit into is refused, a larger one
// is taken.
func TestPieceSizeMustHoldThePayload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(file, make([]byte, 2033), 0o600)) // one byte more than 2 KiB hold
	_, err := call(t, "commp", file, "--piece-size", "2KiB")
	require.ErrorContains(t, err, `--piece-size "2KiB" is too small: the 2033 bytes of `+file+` need a piece of 4KiB`)
	for size, want := range map[string]int{"4KiB": 4096, "8192": 8192} {
		text, err := call(t, "commp", file, "--piece-size", size, "--json")
		require.NoError(t, err)
		var got carJSON
		require.NoError(t, json.Unmarshal([]byte(text), &got))
		require.Equal(t, want, int(got.PieceSize))
	}
}
