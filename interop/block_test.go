package interop

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	prooftypes "github.com/filecoin-project/go-state-types/proof"
	"github.com/filecoin-project/lotus/chain/rand"
	"github.com/filecoin-project/lotus/chain/types"

	lapi "github.com/filecoin-project/lotus/api"

	"quarry/api"
	"quarry/api/client"
	"quarry/proofs/envelope"
	"quarry/proofs/porep"
	"quarry/proofs/post"
)

// The node's own miner is off; Lotus's randomness, election and header code
// make the block, and the node must agree with every bit of it.
func TestCreateAndSubmitBlock(t *testing.T) {
	d := spawn(t, "--mine=false", "--pace", "2s")
	ctx := limit(t)
	maddr, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	var entropy bytes.Buffer
	if err := maddr.MarshalCBOR(&entropy); err != nil {
		t.Fatal(err)
	}
	for height := abi.ChainEpoch(0); height < 3; {
		base, err := d.node.ChainHead(ctx)
		if err != nil {
			t.Fatal(err)
		}
		round := base.Height() + 1
		if _, err := d.node.StateGetBeaconEntry(ctx, round); err != nil {
			t.Fatal(err)
		}
		mbi, err := d.node.MinerGetBaseInfo(ctx, maddr, round, base.Key())
		if err != nil || mbi == nil || !mbi.EligibleForMining {
			t.Fatalf("base info %+v, %v", mbi, err)
		}
		rbase := mbi.BeaconEntries[len(mbi.BeaconEntries)-1]
		vrf := func(tag crypto.DomainSeparationTag, at abi.ChainEpoch, ent []byte) []byte {
			in, err := rand.DrawRandomnessFromBase(rbase.Data, tag, at, ent)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := d.node.WalletSign(ctx, mbi.WorkerKey, in)
			if err != nil {
				t.Fatal(err)
			}
			return sig.Data
		}
		ep := &types.ElectionProof{VRFProof: vrf(crypto.DomainSeparationTag_ElectionProofProduction, round, entropy.Bytes())}
		ep.WinCount = ep.ComputeWinCount(mbi.MinerPower, mbi.NetworkPower)
		if ep.WinCount < 1 {
			time.Sleep(2 * time.Second)
			continue
		}
		tent := append(append([]byte{}, entropy.Bytes()...), base.MinTicket().VRFProof...)
		ticket := &types.Ticket{VRFProof: vrf(crypto.DomainSeparationTag_TicketProduction, round-1, tent)}
		prand, err := rand.DrawRandomnessFromBase(rbase.Data, crypto.DomainSeparationTag_WinningPoStChallengeSeed, round, entropy.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		bm, err := d.node.MinerCreateBlock(ctx, &lapi.BlockTemplate{
			Miner:            maddr,
			Parents:          base.Key(),
			Ticket:           ticket,
			Eproof:           ep,
			BeaconValues:     mbi.BeaconEntries,
			Epoch:            round,
			Timestamp:        base.MinTimestamp() + uint64(round-base.Height()),
			WinningPoStProof: prove(t, d, mbi, prand),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.node.SyncSubmitBlock(ctx, bm); err != nil {
			t.Fatal(err)
		}
		for height == base.Height() || height == 0 {
			head, err := d.node.ChainHead(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if head.Height() > base.Height() {
				if !head.Contains(bm.Cid()) {
					t.Fatalf("head %s does not contain block %s", head, bm.Cid())
				}
				height = head.Height()
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

func prove(t *testing.T, d *devnet, mbi *lapi.MiningBaseInfo, rnd abi.Randomness) []prooftypes.PoStProof {
	t.Helper()
	var acc []post.SectorAccess
	for _, s := range mbi.Sectors {
		dir := filepath.Join(d.dir, "genesis-sectors", "s-t01000-"+s.SectorNumber.String())
		f, err := os.Open(filepath.Join(dir, "sealed"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		acc = append(acc, post.SectorAccess{Sealed: f, Cache: files(filepath.Join(dir, "cache")),
			Info: prooftypes.SectorInfo{SealProof: s.SealProof, SectorNumber: s.SectorNumber, SealedCID: s.SealedCID}})
	}
	blob, err := post.ProveWinning(t.Context(), 1000, abi.PoStRandomness(rnd), acc)
	if err != nil {
		t.Fatal(err)
	}
	field, c := envelope.Wrap(blob)
	// Lotus's own client cannot send an object: its block type has no JSON form.
	q, err := client.Chain(t.Context(), client.Config{Info: d.info})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.ChainPutObj(t.Context(), api.ObjBlock{Cid: c, Data: blob}); err != nil {
		t.Fatal(err)
	}
	wpt, err := mbi.Sectors[0].SealProof.RegisteredWinningPoStProof()
	if err != nil {
		t.Fatal(err)
	}
	return []prooftypes.PoStProof{{PoStProof: wpt, ProofBytes: field}}
}

// files reads a directory as a sector's cache.
type files string

type file struct{ *os.File }

func (f file) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (d files) Create(string, int64) (porep.File, error) { return nil, os.ErrPermission }
func (d files) Remove(string) error                      { return os.ErrPermission }
func (d files) Open(name string) (porep.File, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (d files) List() ([]string, error) {
	es, err := os.ReadDir(string(d))
	var out []string
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out, err
}
