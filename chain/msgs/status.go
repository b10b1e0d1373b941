package msgs

import (
	"slices"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// Status is a message that waits for something else than its turn.
type Status struct {
	Key    string
	CID    cid.Cid
	From   address.Address
	Nonce  uint64
	Since  abi.ChainEpoch // head when it was made
	Reason string         // what it waits for and what to do
}

// Waiting lists the messages in trouble that somebody waits for, by key. A fee
// limit that stands in the way is named here.
func (s *Sender) Waiting() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Status, 0, len(s.waiting))
	for _, st := range s.waiting {
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// report says once what a message waits for; an empty reason ends its trouble.
func (s *Sender) report(w *waiter, r record, v sight, reason string) {
	w.pause = waitRetryMin
	if reason != w.told {
		w.told = reason
		if reason != "" {
			m := &v.last.Message
			s.deps.Log.Warn("a message waits", "key", w.key, "cid", v.last.Cid(), "sender", m.From, "nonce", m.Nonce, "reason", reason)
		}
	}
	on, _ := r.last()
	s.setWaiting(w, Status{
		Key:    w.key,
		CID:    on.CID,
		From:   v.last.Message.From,
		Nonce:  v.last.Message.Nonce,
		Since:  r.Since,
		Reason: reason,
	})
}

func (s *Sender) setWaiting(w *waiter, st Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.Reason == "" {
		delete(s.waiting, w.key)
		return
	}
	s.waiting[w.key] = st
}

// settled ends a waiter's entry.
func (s *Sender) settled(w *waiter) { s.setWaiting(w, Status{}) }
