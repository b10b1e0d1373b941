package devnet

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/renameio/v2"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"golang.org/x/crypto/blake2b"

	"quarry/api"
	"quarry/chain/fvm"
	"quarry/chain/genesis"
	"quarry/chain/wallet"
	"quarry/proofs/porep"
)

// InitConfig says what network to make.
type InitConfig struct {
	// Seed decides everything random: keys, name, sectors. Empty seeds are
	// refused; a real devnet draws 32 random bytes.
	Seed      []byte
	Timestamp uint64 // genesis, seconds since 1970
	SealProof abi.RegisteredSealProof
	Sectors   int    // of the genesis miner, at least 1
	SectorDir string // where their files go
}

// InitDeps are the collaborators; all but Log are needed.
type InitDeps struct {
	Store    datastore.Batching
	Wallet   *wallet.Wallet
	Engine   Machines
	Manifest cid.Cid
	// Blocks of the actors bundle.
	Blocks func(put func(c cid.Cid, data []byte) error) error
	Log    *slog.Logger
}

// Names of the files of a sector, and of the record of a finished seal.
const (
	sealedName = "sealed"
	cacheName  = "cache"
	doneName   = "sealed.json"
)

// faucetFIL and workerFIL are the funds of the two accounts at genesis.
const (
	faucetFIL = 500_000_000
	workerFIL = 10_000
)

// Initialised tells whether Init has finished on this store.
func Initialised(ctx context.Context, ds datastore.Batching) (bool, error) {
	return ds.Has(ctx, datastore.RawKey(recHead))
}

// Init makes the genesis of a network: keys, sealed sectors, state and block.
// Interrupted, it is simply run again; finished, it changes nothing.
func Init(ctx context.Context, cfg InitConfig, deps InitDeps) error {
	if done, err := Initialised(ctx, deps.Store); err != nil || done {
		return err
	}
	if len(cfg.Seed) == 0 || cfg.Sectors < 1 || cfg.SectorDir == "" {
		return errors.New("devnet init: a seed, a sector directory and at least one sector are needed")
	}
	derive := func(what string) [32]byte {
		return blake2b.Sum256(append([]byte("quarry devnet "+what+" "), cfg.Seed...))
	}
	worker, err := deriveKey(ctx, deps.Wallet, api.KeyBLS, derive("worker"))
	if err != nil {
		return err
	}
	faucet, err := deriveKey(ctx, deps.Wallet, api.KeySecp256k1, derive("faucet"))
	if err != nil {
		return err
	}
	name := derive("name")
	p := Params{
		NetworkName: "quarry-devnet-" + hex.EncodeToString(name[:4]),
		Timestamp:   cfg.Timestamp,
		Worker:      worker,
		Faucet:      faucet,
		BeaconKey:   scalar(derive("beacon")),
		SealProof:   cfg.SealProof,
	}
	if p.Miner, err = address.NewIDAddress(uint64(genesis.MinerID)); err != nil {
		return err
	}
	var sectors []genesis.Sector
	for i := range cfg.Sectors {
		c, err := sealSector(ctx, cfg, abi.SectorNumber(i), deps.Log)
		if err != nil {
			return fmt.Errorf("seal genesis sector %d: %w", i, err)
		}
		sectors = append(sectors, genesis.Sector{Number: abi.SectorNumber(i), SealedCID: c})
		p.Sectors = append(p.Sectors, GenesisSector{abi.SectorNumber(i), c})
	}
	return initChain(ctx, cfg, deps, p, sectors, derive("ticket"))
}

func initChain(ctx context.Context, cfg InitConfig, deps InitDeps, p Params, sectors []genesis.Sector, ticket [32]byte) error {
	b := newBlocks(deps.Store)
	if err := deps.Blocks(func(c cid.Cid, data []byte) error { return b.Put(ctx, c, data) }); err != nil {
		return fmt.Errorf("devnet init: actors bundle: %w", err)
	}
	g, err := genesis.Build(ctx, genesis.Config{
		NetworkName: p.NetworkName,
		Timestamp:   cfg.Timestamp,
		Seed:        ticket,
		Accounts: []genesis.Account{
			{Key: p.Faucet, Balance: big.Mul(big.NewInt(faucetFIL), big.NewInt(1e18))},
			{Key: p.Worker, Balance: big.Mul(big.NewInt(workerFIL), big.NewInt(1e18))},
		},
		Worker:    p.Worker,
		SealProof: cfg.SealProof,
		Sectors:   sectors,
	},
		genesis.Deps{Engine: deps.Engine, Store: b, Manifest: deps.Manifest})
	if err != nil {
		return err
	}
	p.Vested, p.Genesis = g.Vested, g.Header.Cid()
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	key := api.TipSetKey{p.Genesis}.Bytes()
	return b.commit(ctx, map[string][]byte{recParams: raw, recHead: key, spineKey(0): key, recEpoch: epochBytes(0)})
}

// scalar makes a valid private key of 32 random bytes: below the group orders
// of both schemes (BLS scalars are little-endian).
func scalar(b [32]byte) []byte {
	b[0] &= 0x1f
	b[31] &= 0x1f
	b[1] |= 1
	return b[:]
}

func deriveKey(ctx context.Context, w *wallet.Wallet, t api.KeyType, seed [32]byte) (address.Address, error) {
	k := &api.KeyInfo{Type: t, PrivateKey: scalar(seed)}
	a, err := w.Import(ctx, k)
	if err != nil {
		return a, fmt.Errorf("devnet init: key: %w", err)
	}
	if t == api.KeySecp256k1 {
		// The faucet is the default: it can pay for anything.
		err = w.SetDefault(ctx, a)
	}
	return a, err
}

// preSealTicket is that of lotus cmd/lotus-seed.
var preSealTicket = blake2b.Sum256([]byte("lotus is fire"))

// sealSector seals a sector of zeros, or finds it sealed.
func sealSector(ctx context.Context, cfg InitConfig, num abi.SectorNumber, log *slog.Logger) (cid.Cid, error) {
	id := abi.SectorID{Miner: genesis.MinerID, Number: num}
	dir := filepath.Join(cfg.SectorDir, api.SectorName(id))
	done := filepath.Join(dir, doneName)
	var rec struct {
		Proof  abi.RegisteredSealProof
		Sealed cid.Cid
	}
	if raw, err := os.ReadFile(done); err == nil {
		if err := json.Unmarshal(raw, &rec); err == nil && rec.Proof == cfg.SealProof && rec.Sealed.Defined() {
			return rec.Sealed, nil
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, cacheName), 0o755); err != nil {
		return cid.Undef, err
	}
	size, err := cfg.SealProof.SectorSize()
	if err != nil {
		return cid.Undef, err
	}
	if log != nil {
		log.Info("sealing a genesis sector", "sector", api.SectorName(id), "size", size.ShortString())
	}
	s := porep.Sector{Proof: cfg.SealProof, Miner: genesis.MinerID, Number: num}
	cache := dirFiles(filepath.Join(dir, cacheName))
	first := porep.PreCommit1Task{Sector: s, Ticket: preSealTicket[:], Unsealed: zeros(size), Cache: cache}
	pc1, err := porep.PreCommit1(ctx, first, porep.LabelOptions{}, nil)
	if err != nil {
		return cid.Undef, err
	}
	sealed, err := dirFiles(dir).Create(sealedName, int64(size))
	if err != nil {
		return cid.Undef, err
	}
	out, err := porep.PreCommit2(ctx, porep.PreCommit2Task{
		Sector:   s,
		PC1:      pc1,
		Unsealed: zeros(size),
		Sealed:   sealed,
		Cache:    cache,
	}, nil)
	if cerr := sealed.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return cid.Undef, err
	}
	if err := porep.ClearCache(cache, cfg.SealProof); err != nil {
		return cid.Undef, err
	}
	rec.Proof, rec.Sealed = cfg.SealProof, out.SealedCID()
	raw, err := json.Marshal(rec)
	if err != nil {
		return cid.Undef, err
	}
	return rec.Sealed, renameio.WriteFile(done, raw, 0o644)
}

// zeros reads as that many zero bytes.
type zeros int64

// ReadAt fills p with zeros up to the end.
func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(z) {
		return 0, io.EOF
	}
	n := min(int64(len(p)), int64(z)-off)
	clear(p[:n])
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// dirFiles is a directory as porep.Files.
type dirFiles string

type osFile struct{ *os.File }

// Size is the length in bytes.
func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Create makes a file of a given size.
func (d dirFiles) Create(name string, size int64) (porep.File, error) {
	f, err := os.Create(filepath.Join(string(d), filepath.Base(name)))
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osFile{f}, nil
}

// Open opens a file for reading.
func (d dirFiles) Open(name string) (porep.File, error) {
	f, err := os.Open(filepath.Join(string(d), filepath.Base(name)))
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Remove deletes a file; a missing one is no error.
func (d dirFiles) Remove(name string) error {
	err := os.Remove(filepath.Join(string(d), filepath.Base(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List names the files.
func (d dirFiles) List() ([]string, error) {
	es, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out, nil
}

var _ fvm.Blockstore = (*blocks)(nil)
