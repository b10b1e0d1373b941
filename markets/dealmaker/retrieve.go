package dealmaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"quarry/internal/printable"
)

// maxSaid bounds what is read of an error that a provider sends, in bytes.
const maxSaid = 512

// LacksError says that a provider does not hold all blocks of a DAG, or could not
// read them.
type LacksError struct {
	Root   cid.Cid
	Block  cid.Cid // the first one missing; undefined where the answer just ended
	Blocks int     // that came
	Bytes  uint64
	Reason error
}

func (e *LacksError) Error() string {
	which := "its answer broke off"
	if e.Block.Defined() {
		which = "block " + e.Block.String() + " did not come"
	}
	return fmt.Sprintf("the provider lacks blocks of %s: %s after %d blocks, %d bytes; try again later or another provider (%v)",
		e.Root, which, e.Blocks, e.Bytes, e.Reason)
}

func (e *LacksError) Unwrap() error { return e.Reason }

// Retrieve fetches root from a trustless gateway at base and writes it to out.
// Every block is verified. The error is a *LacksError when blocks did not come.
func Retrieve(ctx context.Context, client *http.Client, base string, root cid.Cid, out string, progress func(n int)) (uint64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/ipfs/"+root.String()+"?format=car&dag-scope=all", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", "application/vnd.ipld.car;version=1;order=dfs;dups=n")
	resp, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("retrieve %s: %w", root, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("retrieve %s from %s: %w", root, base, refusal(resp))
	}
	if kind := resp.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/") {
		return 0, fmt.Errorf("retrieve %s from %s: %w but %s", root, base, errNoCAR, said(kind))
	}
	return Unpack(ctx, resp.Body, root, out, progress)
}

// refusal says in words why a provider does not answer.
func refusal(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxSaid)) // what came of it will do
	words := map[int]string{
		http.StatusNotFound:           "the provider lacks the root block",
		http.StatusServiceUnavailable: "the provider holds it and cannot read it now",
		http.StatusTooManyRequests:    "the provider has too much to do",
		http.StatusNotAcceptable:      "the provider serves no CARs",
	}
	text := words[resp.StatusCode]
	if text == "" {
		text = "the provider answers " + http.StatusText(resp.StatusCode)
	}
	if after := resp.Header.Get("Retry-After"); after != "" {
		text += "; it asks to try again after " + said(after)
		if strings.Trim(after, "0123456789") == "" {
			text += " s"
		}
	}
	return fmt.Errorf("%s (%d: %s)", text, resp.StatusCode, said(string(body)))
}

// said is one line of what a stranger said, without anything a terminal would
// obey.
func said(s string) string { return printable.Escape(strings.TrimSpace(s), maxSaid) }

// lacking makes an error of reading a DAG a *LacksError where that is what it
// means: the stream ended in the middle, or was well-formed up to a place.
func lacking(ctx context.Context, root cid.Cid, got received, err error) error {
	var own *storeError
	if errors.Is(err, errNoCAR) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, errWrongBytes) || errors.As(err, &own) {
		return err
	}
	e := &LacksError{Root: root, Blocks: got.blocks, Bytes: got.bytes, Reason: err}
	var missing ipld.ErrNotFound
	if errors.As(err, &missing) {
		e.Block = missing.Cid
	}
	return e
}
