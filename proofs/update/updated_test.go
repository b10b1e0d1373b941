package update

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/commp"
	"quarry/proofs/fr32"
	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
)

// updated is a sealed sector of vector data with other data put into it.
type updated struct {
	proof  abi.RegisteredUpdateProof
	par    params
	old    *poreptest.Sealed
	sealed *poreptest.File
	cache  *poreptest.Files
	com    Commitments
	data   []byte
}

func update(t testing.TB, p abi.RegisteredUpdateProof) *updated {
	t.Helper()
	ctx := context.Background()
	par, err := paramsFor(p)
	if err != nil {
		t.Fatal(err)
	}
	u := &updated{
		proof:  p,
		par:    par,
		sealed: poreptest.NewFile(int64(par.size())),
		cache:  poreptest.NewFiles(),
		data:   make([]byte, par.size()),
	}
	raw := poreptest.VectorData(par.size())
	s := porep.Sector{Proof: firstV1_1 + abi.RegisteredSealProof(p), Miner: 1000, Number: 42}
	if u.old, err = poreptest.SealData(ctx, s, raw); err != nil {
		t.Fatal(err)
	}
	fresh := make([]byte, len(raw))
	for i := range raw {
		fresh[i] = raw[i] ^ 0x5a
	}
	fr32.Pad(fresh, u.data)
	piece, err := commp.Sum(ctx, bytes.NewReader(fresh))
	if err != nil {
		t.Fatal(err)
	}
	if u.com, err = Encode(ctx, p, u.encodeTask([]abi.PieceInfo{{Size: piece.PaddedSize, PieceCID: piece.CID}}), nil); err != nil {
		t.Fatal(err)
	}
	return u
}

func (u *updated) oldReplica() Replica { return Replica{Sealed: u.old.Sealed, Cache: u.old.Cache} }
func (u *updated) newReplica() Replica { return Replica{Sealed: u.sealed, Cache: u.cache} }

func (u *updated) encodeTask(pieces []abi.PieceInfo) EncodeTask {
	return EncodeTask{
		Old:    u.oldReplica(),
		Data:   bytes.NewReader(u.data),
		Pieces: pieces,
		Sealed: u.sealed,
		Cache:  u.cache,
	}
}

func (u *updated) decodeTask(out io.Writer, offset, size abi.PaddedPieceSize) DecodeTask {
	return DecodeTask{
		CommROld: u.old.Request.SealedCID(),
		CommDNew: u.com.UnsealedCID(),
		Old:      u.old.Sealed,
		Updated:  u.sealed,
		Out:      out,
		Offset:   offset,
		Size:     size,
	}
}

func (u *updated) keyTask(key porep.File, cache porep.Files) KeyTask {
	return KeyTask{
		CommROld: u.old.Request.SealedCID(),
		CommDNew: u.com.UnsealedCID(),
		Updated:  u.newReplica(),
		Data:     bytes.NewReader(u.data),
		Key:      key,
		Cache:    cache,
	}
}

func (u *updated) info() proof.ReplicaUpdateInfo {
	return proof.ReplicaUpdateInfo{UpdateProofType: u.proof, OldSealedSectorCID: u.old.Request.SealedCID(),
		NewSealedSectorCID: u.com.SealedCID(), NewUnsealedSectorCID: u.com.UnsealedCID()}
}

func (u *updated) prove(t testing.TB) []byte {
	t.Helper()
	blob, err := Prove(context.Background(), u.proof, u.com, u.oldReplica(), u.newReplica())
	if err != nil {
		t.Fatal(err)
	}
	return blob
}
