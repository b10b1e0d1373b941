package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/stretchr/testify/require"

	"quarry/markets/wire"
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
