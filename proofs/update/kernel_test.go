package update

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/commp"
	"quarry/proofs/fr32"
	"quarry/proofs/kernel"
	"quarry/proofs/merkle"
	"quarry/proofs/porep/poreptest"
	"quarry/proofs/poseidon"
)

// device is the CPU; it counts calls.
type device struct {
	merkle.CPU
	poseidon, sha256 int
	fault            error
}

func (d *device) HashPoseidon(ctx context.Context, rows [][]poseidon.Element) error {
	if d.poseidon++; d.fault != nil {
		return d.fault
	}
	return d.CPU.HashPoseidon(ctx, rows)
}

func (d *device) HashSHA256(ctx context.Context, rows [][]byte) error {
	d.sha256++
	return d.CPU.HashSHA256(ctx, rows)
}

var _ kernel.Trees = (*device)(nil)

// Encoding and taking the data out again hash both trees with the kernel of the
// task, and fail when it does.
func TestUpdateOnAKernel(t *testing.T) {
	ctx, u := context.Background(), update(t, 0)
	raw := make([]byte, len(u.data)/128*127)
	fr32.Unpad(u.data, raw)
	piece, err := commp.Sum(ctx, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	d, sealed := new(device), poreptest.NewFile(int64(len(u.data)))
	task := EncodeTask{
		Old:    u.oldReplica(),
		Data:   bytes.NewReader(u.data),
		Pieces: []abi.PieceInfo{{Size: piece.PaddedSize, PieceCID: piece.CID}},
		Sealed: sealed,
		Cache:  poreptest.NewFiles(),
		Kernel: d,
	}
	if com, err := Encode(ctx, 0, task, nil); err != nil || com != u.com || d.poseidon != 1 || d.sha256 != 1 {
		t.Errorf("encoding: %v; commitments %x, want %x; %d and %d calls", err, com, u.com, d.poseidon, d.sha256)
	}
	out := KeyTask{
		CommROld: u.old.Request.SealedCID(),
		CommDNew: u.com.UnsealedCID(),
		Updated:  u.newReplica(),
		Data:     bytes.NewReader(u.data),
		Key:      poreptest.NewFile(int64(len(u.data))),
		Cache:    poreptest.NewFiles(),
		Kernel:   d,
	}
	if err := RegenerateKey(ctx, 0, out, nil); err != nil || d.poseidon != 2 || d.sha256 != 2 {
		t.Errorf("taking the data out: %v; %d and %d calls", err, d.poseidon, d.sha256)
	}
	d.fault = errors.New("out of order")
	if _, err := Encode(ctx, 0, task, nil); !errors.Is(err, d.fault) {
		t.Errorf("encoding on a kernel that fails: %v", err)
	}
	if err := RegenerateKey(ctx, 0, out, nil); !errors.Is(err, d.fault) {
		t.Errorf("taking the data out on a kernel that fails: %v", err)
	}
}
