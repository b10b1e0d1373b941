package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"quarry/api"
	"quarry/proofs/porep"
	"quarry/proofs/update"
	"quarry/storage/paths"
	"quarry/storage/unsealed"
)

// unseal brings back a range of the unsealed file.
func (j *job) unseal(ctx context.Context, a api.UnsealParams) (none api.Nothing, err error) {
	commD, err := cid.Parse(string(a.UnsealedCID))
	if err != nil {
		return none, &api.ErrInvalid{What: "unsealed CID " + string(a.UnsealedCID), Reason: err.Error()}
	}
	if a.Size == 0 || uint64(a.Offset) > uint64(j.size) || uint64(a.Size) > uint64(j.size)-uint64(a.Offset) {
		return none, &api.ErrInvalid{What: fmt.Sprintf("unsealed range %d+%d", a.Offset, a.Size), Reason: "it is outside the sector"}
	}
	input, err := inputOf(j.sector, a)
	if err != nil {
		return none, err
	}
	to, err := j.unsealedHome(ctx, input, false)
	if err != nil {
		return none, err
	}
	defer to.release()
	at := span{a.Offset, a.Size}
	err = j.fill(ctx, to, at, func(f *unsealed.File) error { return j.unsealInto(ctx, f, commD, a) })
	if err != nil {
		return none, paths.AsNoSpace(err, "unsealed sector "+j.String(), uint64(j.size))
	}
	// Other copies may have ranges that this one lacks; they hold the same bytes, so
	// they go only when this one is whole.
	if j.proveUnsealed(to.at, span{size: pad(j.size)}) != nil {
		return none, nil
	}
	return none, j.deleteOtherCopies(ctx, to.at, api.FileUnsealed, func(context.Context) error { return nil })
}

func (j *job) unsealInto(ctx context.Context, f *unsealed.File, commD cid.Cid, a api.UnsealParams) error {
	if ok, err := f.Has(a.Offset, a.Size); err != nil || ok {
		return err // done before
	}
	total := int64(a.Size)
	to := io.NewOffsetWriter(f, int64(a.Offset))
	out := &countWriter{w: to, f: func(n int64) { j.Set("unseal", n, total) }}
	j.Set("unseal", 0, total)
	decode := j.unsealReplica
	if a.SectorKeyCID != "" {
		decode = j.unsealUpdate
	}
	if err := decode(ctx, commD, a, out); err != nil {
		return err
	}
	if out.n != total {
		return fmt.Errorf("unsealing gave %d of %d bytes", out.n, total)
	}
	return nil
}

func (j *job) unsealReplica(ctx context.Context, commD cid.Cid, a api.UnsealParams, out io.Writer) error {
	sealed, err := j.openFile(ctx, api.FileSealed)
	if err != nil {
		return err
	}
	defer sealed.Close() // read only
	labels, err := j.labelOptions(ctx)
	if err != nil {
		return err
	}
	return porep.Unseal(ctx, porep.UnsealTask{
		Sector: j.porep(),
		Ticket: a.Ticket,
		CommD:  commD,
		Sealed: sealed,
		Out:    out,
		Offset: a.Offset,
		Size:   a.Size,
	}, labels, j.Set)
}

// unsealUpdate gives back data of an updated sector as long as the replica from
// before the update is there.
func (j *job) unsealUpdate(ctx context.Context, commD cid.Cid, a api.UnsealParams, out io.Writer) error {
	typ, err := updateProof(j.sector)
	if err != nil {
		return err
	}
	key, err := cid.Parse(string(a.SectorKeyCID))
	if err != nil {
		return &api.ErrInvalid{What: "sector key CID " + string(a.SectorKeyCID), Reason: err.Error()}
	}
	old, err := j.openFile(ctx, api.FileSealed)
	var missing *api.ErrNotFound
	if errors.As(err, &missing) {
		return &api.ErrInvalid{What: "unseal updated sector " + j.String(),
			Reason: "its readable copy is gone, and so is the replica from before the update",
			Hint:   "sealing that anew to read the sector is not built yet; restore the unsealed file from a copy"}
	}
	if err != nil {
		return err
	}
	defer old.Close() // read only
	updated, err := j.openFile(ctx, api.FileUpdate)
	if err != nil {
		return err
	}
	defer updated.Close() // read only
	return update.Decode(ctx, typ, update.DecodeTask{
		CommROld: key,
		CommDNew: commD,
		Old:      old,
		Updated:  updated,
		Out:      out,
		Offset:   a.Offset,
		Size:     a.Size,
	})
}

type countWriter struct {
	w io.Writer
	n int64
	f func(int64)
}

func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.f(c.n)
	return n, err
}
