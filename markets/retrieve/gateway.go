package retrieve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/files"
	"github.com/ipfs/boxo/gateway"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/boxo/path/resolver"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/prometheus/client_golang/prometheus"

	"quarry/markets/pieces"
)

// maxAnswer bounds one answer: a large DAG over a slow line takes hours.
const maxAnswer = 24 * time.Hour

// unserved says that blocks under a CID are never served.
type unserved struct{ reason error }

func (e *unserved) Error() string { return e.reason.Error() }

// newGateway makes the trustless gateway over a blockstore.
func newGateway(bs *blockstore) (http.Handler, error) {
	svc := blockservice.New(bs, nil, blockservice.WithAllowlist(pieces.Allowed))
	inner, err := gateway.NewBlocksBackend(svc, gateway.WithPrometheusRegistry(prometheus.NewRegistry()))
	if err != nil {
		return nil, fmt.Errorf("retrieval gateway: %w", err)
	}
	return gateway.NewHandler(gateway.Config{
		DeserializedResponses: false,
		NoDNSLink:             true,
		DisableHTMLErrors:     true,
		MaxRequestDuration:    maxAnswer,
		MetricsRegistry:       prometheus.NewRegistry(),
	}, &backend{BlocksBackend: inner, bs: bs}), nil
}

// backend tells what is missing from what the client got wrong, and answers that
// break off from those that end.
type backend struct {
	*gateway.BlocksBackend
	bs *blockstore
}

// GetBlock reads the block at a path.
func (b *backend) GetBlock(ctx context.Context, p path.ImmutablePath) (gateway.ContentPathMetadata, files.File, error) {
	md, f, err := b.BlocksBackend.GetBlock(ctx, p)
	return md, f, judge(ctx, err)
}

// ResolvePath finds the CIDs along a path.
func (b *backend) ResolvePath(ctx context.Context, p path.ImmutablePath) (gateway.ContentPathMetadata, error) {
	md, err := b.BlocksBackend.ResolvePath(ctx, p)
	return md, judge(ctx, err)
}

// GetCAR streams the blocks along a path and those of the DAG at its end. A path
// that a block of ours shows not to exist is answered with the blocks that prove
// it; one that cannot be followed for want of a block is an error.
func (b *backend) GetCAR(
	ctx context.Context, p path.ImmutablePath, params gateway.CarParams,
) (gateway.ContentPathMetadata, io.ReadCloser, error) {
	t := trackOf(ctx)
	if params.Scope == gateway.DagScopeAll && len(p.Segments()) == 2 {
		md := gateway.ContentPathMetadata{LastSegment: p}
		return md, t.watched(b.bs.streamDAG(ctx, p.RootCid(), params.Duplicates.Bool())), nil
	}
	md, car, err := b.BlocksBackend.GetCAR(ctx, p, params)
	if lacked := t.failure(); lacked != nil {
		if car != nil {
			_ = car.Close()
		}
		return md, nil, judge(ctx, lacked)
	}
	if err == nil && len(md.PathSegmentRoots) > 0 { // the block at the end is read before 200, as the root is
		_, err = b.bs.Get(ctx, md.LastSegment.RootCid())
	}
	if err != nil {
		if car != nil {
			_ = car.Close()
		}
		return md, nil, judge(ctx, err)
	}
	return md, t.watched(car), nil
}

// judge gives an error the status it deserves, and a text without our secrets.
func judge(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if lacked := trackOf(ctx).failure(); lacked != nil {
		err = lacked
	}
	var away *unavailable
	var never *unserved
	var noLink *resolver.ErrNoLink
	var notExists datamodel.ErrNotExists
	switch {
	case errors.As(err, &away):
		return gateway.NewErrorRetryAfter(gateway.NewErrorStatusCode(away, http.StatusServiceUnavailable), retryAfter*time.Second)
	case errors.As(err, &never):
		return gateway.NewErrorStatusCode(never, http.StatusBadRequest)
	case ipld.IsNotFound(err), errors.As(err, &noLink), errors.As(err, &notExists):
		return gateway.NewErrorStatusCode(err, http.StatusNotFound)
	case ctx.Err() != nil:
		return err
	}
	// Every block was here: it is the path that does not fit them.
	return gateway.NewErrorStatusCode(fmt.Errorf("the path does not fit the data: %w", err), http.StatusBadRequest)
}

// watched is a stream whose failure is remembered.
func (t *track) watched(r io.ReadCloser) io.ReadCloser {
	if t.head { // nobody wants the blocks
		t.unread = true
		_ = r.Close()
		return io.NopCloser(strings.NewReader(""))
	}
	return &watched{r, t}
}

type watched struct {
	io.ReadCloser
	t *track
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		w.t.breakOff(err)
	}
	return n, err
}
