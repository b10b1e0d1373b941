package fvm

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	carv2 "github.com/ipld/go-car/v2"

	"quarry/api"
	"quarry/chain/fvm/bundle"
)

// memStore is a blockstore in memory.
type memStore map[cid.Cid][]byte

func (s memStore) Get(_ context.Context, c cid.Cid) ([]byte, error) {
	b, ok := s[c]
	if !ok {
		return nil, errors.New("block not found")
	}
	return b, nil
}
func (s memStore) Put(_ context.Context, c cid.Cid, b []byte) error { s[c] = b; return nil }
func (s memStore) Has(_ context.Context, c cid.Cid) (bool, error)   { _, ok := s[c]; return ok, nil }

// proofs answers every check alike.
type proofs bool

func (p proofs) Seal(context.Context, proof.SealVerifyInfo) (bool, error) { return bool(p), nil }
func (p proofs) Aggregate(context.Context, proof.AggregateSealVerifyProofAndInfos) (bool, error) {
	return bool(p), nil
}
func (p proofs) WindowPoSt(context.Context, proof.WindowPoStVerifyInfo) (bool, error) {
	return bool(p), nil
}
func (p proofs) ReplicaUpdate(context.Context, proof.ReplicaUpdateInfo) (bool, error) {
	return bool(p), nil
}

// digests is randomness by kind and epoch, with a fallback.
type digests struct {
	chain, beacon map[abi.ChainEpoch][32]byte
}

var fallback = [32]byte([]byte("i_am_random_____i_am_random_____"))

func (d digests) ChainRandomness(_ context.Context, e abi.ChainEpoch) ([32]byte, error) {
	if v, ok := d.chain[e]; ok {
		return v, nil
	}
	return fallback, nil
}
func (d digests) BeaconRandomness(_ context.Context, e abi.ChainEpoch) ([32]byte, error) {
	if v, ok := d.beacon[e]; ok {
		return v, nil
	}
	return fallback, nil
}
func (digests) TipsetCID(context.Context, abi.ChainEpoch) (cid.Cid, error) {
	return cid.Undef, errors.New("no tipsets here")
}
func (digests) ConsensusFault(context.Context, []byte, []byte, []byte) (*ConsensusFault, error) {
	return nil, nil
}

// vector is the part of the fvm-test-vectors schema that is used.
type vector struct {
	Car           string
	Preconditions struct {
		Variants []struct {
			Epoch int64
			NV    uint `json:"nv"`
		}
		StateTree struct {
			RootCid cid.Cid `json:"root_cid"`
		} `json:"state_tree"`
		BaseFee    json.Number `json:"basefee"`
		CircSupply json.Number `json:"circ_supply"`
	}
	ApplyMessages  []struct{ Bytes string } `json:"apply_messages"`
	Postconditions struct {
		StateTree struct {
			RootCid cid.Cid `json:"root_cid"`
		} `json:"state_tree"`
		Receipts []struct {
			ExitCode int64       `json:"exit_code"`
			Return   string      `json:"return"`
			GasUsed  json.Number `json:"gas_used"`
		}
	}
	Randomness []struct {
		On  []json.RawMessage
		Ret string
	}
}

func decode64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func loadCar(t *testing.T, b64 string, into memStore) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(decode64(t, b64)))
	if err != nil {
		t.Fatal(err)
	}
	br, err := carv2.NewBlockReader(z)
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, err := br.Next()
		if err != nil {
			break
		}
		into[b.Cid()] = b.RawData()
	}
}

func (v *vector) externs(t *testing.T) digests {
	d := digests{map[abi.ChainEpoch][32]byte{}, map[abi.ChainEpoch][32]byte{}}
	for _, r := range v.Randomness {
		var kind string
		var epoch abi.ChainEpoch
		if json.Unmarshal(r.On[0], &kind) != nil || json.Unmarshal(r.On[1], &epoch) != nil {
			t.Fatalf("randomness rule %s", r.On)
		}
		val := [32]byte(decode64(t, r.Ret))
		if kind == "beacon" {
			d.beacon[epoch] = val
		} else {
			d.chain[epoch] = val
		}
	}
	return d
}

func bigNumber(t *testing.T, n json.Number) abi.TokenAmount {
	t.Helper()
	v, err := big.FromString(n.String())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestMessageVectors replays mainnet messages of network version 18 and
// compares exit codes, return data, gas and state roots.
func TestMessageVectors(t *testing.T) {
	dir := os.Getenv("FVM_TEST_VECTORS")
	if dir == "" {
		t.Skip("FVM_TEST_VECTORS names no folder of message vectors (fvm-test-vectors, corpus/extracted/0002-hygge-01)")
	}
	var files []string
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(p, ".json") {
			files = append(files, p)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", dir, err)
	}
	f, err := os.Open("testdata/v10-mainnet.car.gz")
	if err != nil {
		t.Fatalf("%v: run `make bundle`", err)
	}
	defer f.Close()
	b, err := bundle.LoadGzip(f)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	e, err := NewEngine(ctx, EngineConfig{Bundle: b, CacheDir: os.Getenv("FVM_TEST_CACHE")})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(ctx)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) { runVector(t, e, file) })
	}
}

func runVector(t *testing.T, e *Engine, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	store := memStore{}
	loadCar(t, v.Car, store)
	for _, b := range e.Bundle().Blocks {
		store[b.Cid] = b.Data
	}
	pre := v.Preconditions
	m, err := e.NewMachine(ctx, MachineConfig{
		Epoch:          abi.ChainEpoch(pre.Variants[0].Epoch),
		Timestamp:      uint64(pre.Variants[0].Epoch) * 30,
		BaseFee:        bigNumber(t, pre.BaseFee),
		CircSupply:     bigNumber(t, pre.CircSupply),
		NetworkVersion: network.Version(pre.Variants[0].NV),
		ChainID:        314,
		StateRoot:      pre.StateTree.RootCid,
	},
		Deps{Store: store, Externs: v.externs(t), Proofs: proofs(true)})
	if err != nil {
		t.Fatal(err)
	}
	for i, am := range v.ApplyMessages {
		msg, err := api.DecodeMessage(decode64(t, am.Bytes))
		if err != nil {
			t.Fatal(err)
		}
		n := msg.ChainLength()
		if msg.From.Protocol() == address.SECP256K1 {
			n += 69
		}
		res, err := m.Apply(ctx, msg, n)
		if err != nil {
			t.Fatal(err)
		}
		want := v.Postconditions.Receipts[i]
		if int64(res.ExitCode) != want.ExitCode {
			t.Errorf("exit code %d, want %d\n%s", res.ExitCode, want.ExitCode, res.Backtrace)
		}
		if !bytes.Equal(res.Return, decode64(t, want.Return)) {
			t.Errorf("return %x, want %s", res.Return, want.Return)
		}
		if g, _ := want.GasUsed.Int64(); g != res.GasUsed {
			t.Errorf("gas %d, want %d (off by %d)", res.GasUsed, g, res.GasUsed-g)
		}
	}
	root, err := m.Flush(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if root != v.Postconditions.StateTree.RootCid {
		t.Errorf("state root %s, want %s", root, v.Postconditions.StateTree.RootCid)
	}
}
