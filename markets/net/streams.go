package net

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	lnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/internal/lifecycle"
	"quarry/internal/loglimit"
)

// Limits of one request and answer exchange.
type Limits struct {
	MaxBytes int64         // of the request
	First    time.Duration // its first byte; 0: Read
	Read     time.Duration // whole request
	Handle   time.Duration // the work in between
	Write    time.Duration // whole answer
}

// DefaultLimits are those of Boost, with a work time below the 30 s after which
// clients were seen to give up.
func DefaultLimits(maxBytes int64) Limits {
	return Limits{
		MaxBytes: maxBytes,
		First:    3 * time.Second,
		Read:     10 * time.Second,
		Handle:   25 * time.Second,
		Write:    10 * time.Second,
	}
}

// Handler answers one request. A nil answer resets the stream.
type Handler func(ctx context.Context, from peer.ID, req io.Reader) (cbg.CBORMarshaler, error)

// Serve answers each protocol with one CBOR value per stream until ctx ends;
// handlers still running then have their context cancelled. Streams for which
// there is no slot are reset, and so is one that gives way to another.
func Serve(ctx context.Context, h host.Host, lim Limits, of Slots, log *slog.Logger, handlers map[string]Handler) (stop func()) {
	table := newSlots(of)
	log = loglimit.Logger(log) // strangers can cause these lines at will
	catch := lifecycle.NewCatcher(log)
	for id, fn := range handlers {
		h.SetStreamHandler(protocol.ID(id), func(s lnet.Stream) {
			slot := table.take(s)
			if slot == nil {
				_ = s.Reset()
				return
			}
			defer table.leave(slot)
			err := catch.Do("an answer on "+id, func() error { return answer(ctx, slot, lim, fn) })
			if err != nil {
				_ = s.Reset()
				log.Warn("stream failed", "protocol", id, "peer", slot.peer, "error", err)
			}
		})
	}
	return func() {
		for id := range handlers {
			h.RemoveStreamHandler(protocol.ID(id))
		}
		table.close() // waits for the streams being answered
	}
}

func answer(ctx context.Context, slot *slot, lim Limits, fn Handler) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s := slot.s
	ctx, cancel := context.WithTimeout(ctx, lim.Read+lim.Handle)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Now()) })
	defer stop()
	begun := time.Now()
	in := bufio.NewReader(io.LimitReader(slot, lim.MaxBytes))
	if lim.First > 0 && lim.First < lim.Read {
		if err := s.SetReadDeadline(begun.Add(lim.First)); err != nil {
			return err
		}
		if _, err := in.Peek(1); err != nil {
			return fmt.Errorf("nothing was asked: %w", err)
		}
	}
	if err := s.SetReadDeadline(begun.Add(lim.Read)); err != nil {
		return err
	}
	resp, err := fn(ctx, slot.peer, in)
	if err != nil {
		return err
	}
	stop()
	if err := s.SetWriteDeadline(time.Now().Add(lim.Write)); err != nil {
		return err
	}
	if err := resp.MarshalCBOR(slot); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return s.Close()
}

// Ask opens a stream on the first of protocols that the peer speaks, writes req
// and reads resp. The stream's deadline is that of ctx, at most one minute.
func Ask(ctx context.Context, h host.Host, to peer.ID, protocols []string, req cbg.CBORMarshaler, resp cbg.CBORUnmarshaler,
	maxBytes int64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ids := make([]protocol.ID, len(protocols))
	for i, p := range protocols {
		ids[i] = protocol.ID(p)
	}
	s, err := h.NewStream(ctx, to, ids...)
	if err != nil {
		return fmt.Errorf("open %v to %s: %w", protocols, to, err)
	}
	defer s.Reset() // after Close it does nothing
	deadline, _ := ctx.Deadline()
	if err := s.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	if err := req.MarshalCBOR(s); err != nil {
		return fmt.Errorf("send %s request to %s: %w", s.Protocol(), to, err)
	}
	if err := resp.UnmarshalCBOR(bufio.NewReader(io.LimitReader(s, maxBytes))); err != nil {
		return fmt.Errorf("read %s answer of %s: %w", s.Protocol(), to, err)
	}
	_ = s.Close() // the answer is here; the peer may have stopped reading already
	return nil
}
