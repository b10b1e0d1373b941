package devnet

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
	"quarry/internal/filcrypto"
)

// Limits of messages (lotus chain/types/message.go, chain/messagepool).
const (
	maxMessageBytes  = 64 << 10
	maxPerSender     = 1000
	replaceByFeePct  = 110
	onChainFixedGas  = 38_863 + 475_000 + 36*1300
	onChainByteGas   = 1300
	maxSelectedCount = 1000
)

var maxValue = big.Mul(big.NewInt(2_000_000_000), big.NewInt(1e18))

// complete refuses messages that have no encoding and so no CID: everything else
// about a message can be said with it at hand.
func complete(m *api.Message) error {
	if m == nil {
		return &api.ErrInvalid{What: "message", Reason: "none given"}
	}
	if m.To == address.Undef || m.From == address.Undef {
		return &api.ErrInvalid{What: "message", Reason: "sender or recipient is missing"}
	}
	return nil
}

// checkStatic applies the rules that need no state.
func checkStatic(m *api.Message, chainLen int) error {
	switch {
	case m.Version != 0:
		return errors.New("message version unsupported")
	case m.To.Protocol() == address.BLS && len(bytes.Trim(m.To.Payload(), "\x00")) == 0:
		return errors.New("the zero address cannot receive messages")
	case m.Value.Int == nil || m.Value.Sign() < 0 || m.Value.GreaterThan(maxValue):
		return errors.New("message value out of range")
	case m.GasFeeCap.Int == nil || m.GasFeeCap.Sign() < 0 || m.GasPremium.Int == nil || m.GasPremium.Sign() < 0:
		return errors.New("gas fee cap or premium is negative or missing")
	case m.GasPremium.GreaterThan(m.GasFeeCap):
		return errors.New("gas premium is above the gas fee cap")
	case m.GasLimit <= 0 || m.GasLimit > blockGasLimit:
		return fmt.Errorf("gas limit %d out of range", m.GasLimit)
	case chainLen > maxMessageBytes:
		return fmt.Errorf("message too big: %d bytes, limit %d", chainLen, maxMessageBytes)
	}
	if least := int64(onChainFixedGas + onChainByteGas*chainLen); m.GasLimit < least {
		return fmt.Errorf("gas limit %d is below the inclusion cost of %d", m.GasLimit, least)
	}
	return nil
}

// pool holds pending messages by sender key and nonce. Its content is on disk,
// so that an acknowledged message outlives the process.
type pool struct {
	l       *ledger
	mu      sync.Mutex
	pending map[address.Address]map[uint64]*api.SignedMessage
	changes *feed[api.MpoolUpdate]
}

func newPool(l *ledger, log *slog.Logger) *pool {
	return &pool{
		l:       l,
		pending: map[address.Address]map[uint64]*api.SignedMessage{},
		changes: newFeed[api.MpoolUpdate]("message pool", poolBuffer, log),
	}
}

// size counts the pending messages; the caller holds the lock.
func (p *pool) size() int {
	n := 0
	for _, m := range p.pending {
		n += len(m)
	}
	return n
}

func (p *pool) load(ctx context.Context, key func(address.Address) (address.Address, error)) error {
	res, err := p.l.ds.Query(ctx, query.Query{Prefix: recPool})
	if err != nil {
		return fmt.Errorf("read message pool: %w", err)
	}
	all, err := res.Rest()
	if err != nil {
		return fmt.Errorf("read message pool: %w", err)
	}
	for _, e := range all {
		s, err := api.DecodeSignedMessage(e.Value)
		if err != nil {
			return fmt.Errorf("message pool record %s: %w", e.Key, err)
		}
		k, err := key(s.Message.From)
		if err != nil {
			return err
		}
		if err := p.l.storeMessage(ctx, s); err != nil {
			return err
		}
		p.put(k, s)
	}
	return nil
}

func (p *pool) put(key address.Address, s *api.SignedMessage) {
	if p.pending[key] == nil {
		p.pending[key] = map[uint64]*api.SignedMessage{}
	}
	p.pending[key][s.Message.Nonce] = s
}

// sender is what the state after the head says of a sender.
type sender struct {
	key     address.Address
	nonce   uint64
	balance abi.TokenAmount
}

// add checks a message against state and pool and keeps it, together with the
// caller's own records: all of them are on disk or none.
func (p *pool) add(ctx context.Context, s *api.SignedMessage, from sender, more map[string][]byte) error {
	if err := checkAlone(s, from); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old, err := p.checkBeside(&s.Message, s.Cid(), from)
	if err != nil {
		return err
	}
	if old != nil && old.Cid() == s.Cid() {
		return nil
	}
	raw, err := s.Serialize()
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	recs := map[string][]byte{recPool + s.Cid().String(): raw}
	maps.Copy(recs, more)
	if old != nil {
		recs[recPool+old.Cid().String()] = nil
	}
	if s.Signature.Type == crypto.SigTypeBLS {
		recs[recSigned+s.Cid().String()] = raw
	}
	if err := p.l.storeMessage(ctx, s); err != nil {
		return err
	}
	if err := putRecords(ctx, p.l.ds, recs); err != nil {
		return err
	}
	p.put(from.key, s)
	if old != nil {
		p.changes.send(api.MpoolUpdate{Type: api.MpoolRemove, Message: old})
	}
	p.changes.send(api.MpoolUpdate{Type: api.MpoolAdd, Message: s})
	return nil
}

// checkAlone applies the rules that need no other message.
func checkAlone(s *api.SignedMessage, from sender) error {
	m := &s.Message
	if err := complete(m); err != nil {
		return err
	}
	if err := checkStatic(m, s.ChainLength()); err != nil {
		return &api.ErrInvalid{What: "message", Reason: err.Error()}
	}
	if m.GasFeeCap.LessThan(big.NewInt(minimumBaseFee)) {
		return &api.ErrInvalid{What: "message", Reason: "gas fee cap too low"}
	}
	if err := filcrypto.Verify(&s.Signature, from.key, m.Cid().Bytes()); err != nil {
		return &api.ErrInvalid{What: "message", Reason: err.Error()}
	}
	return nil
}

// checkBeside applies the rules about what else a sender has pending, and gives the
// message that has the nonce now, which may be c itself. The caller holds the lock.
func (p *pool) checkBeside(m *api.Message, c cid.Cid, from sender) (old *api.SignedMessage, err error) {
	if m.Nonce < from.nonce {
		return nil, fmt.Errorf("message from %s with nonce %d, expected at least %d: message nonce too low", m.From, m.Nonce, from.nonce)
	}
	mine := p.pending[from.key]
	old = mine[m.Nonce]
	switch {
	case old != nil && old.Cid() == c:
		return old, nil
	case old != nil:
		least := big.Add(big.Div(big.Mul(old.Message.GasPremium, big.NewInt(replaceByFeePct)), big.NewInt(100)), big.NewInt(1))
		if m.GasPremium.LessThan(least) {
			return nil, fmt.Errorf("message from %s with nonce %d: replace by fee has too low GasPremium: needs %s, has %s",
				m.From, m.Nonce, least, m.GasPremium)
		}
	case len(mine) >= maxPerSender:
		return nil, &api.ErrBusy{What: "message pool", Reason: fmt.Sprintf("too many pending messages for actor %s", m.From)}
	case p.size() >= poolSizeLimit:
		return nil, &api.ErrBusy{What: "message pool", Reason: fmt.Sprintf("it holds %d messages", poolSizeLimit)}
	}
	need := big.Mul(m.GasFeeCap, big.NewInt(m.GasLimit))
	for n, o := range mine {
		if n != m.Nonce {
			need = big.Add(need, big.Mul(o.Message.GasFeeCap, big.NewInt(o.Message.GasLimit)))
		}
	}
	if from.balance.LessThan(need) {
		return nil, fmt.Errorf("not enough funds to execute transaction: pending gas of %s needs %s attoFIL, has %s",
			m.From, need, from.balance)
	}
	return old, nil
}

// nextNonce is one above the pending run that starts at the state's nonce.
func (p *pool) nextNonce(key address.Address, state uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.pending[key][state] != nil {
		state++
	}
	return state
}

// of lists a sender's pending messages from a nonce on, in sequence.
func (p *pool) of(key address.Address, from uint64) []*api.SignedMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*api.SignedMessage
	for s := p.pending[key][from]; s != nil; s = p.pending[key][from] {
		out = append(out, s)
		from++
	}
	return out
}

func (p *pool) all() []*api.SignedMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []*api.SignedMessage{}
	for _, m := range p.pending {
		for _, s := range m {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, bySender)
	return out
}

func (p *pool) senders() []address.Address {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []address.Address
	for k, m := range p.pending {
		if len(m) > 0 {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b address.Address) int { return bytes.Compare(a.Bytes(), b.Bytes()) })
	return out
}

// drop forgets messages that a new head includes or makes impossible, and
// returns the records to delete with the head.
func (p *pool) drop(key address.Address, below uint64, recs map[string][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, s := range p.pending[key] {
		if n < below {
			delete(p.pending[key], n)
			recs[recPool+s.Cid().String()] = nil
		}
	}
}

// snapshot remembers what is pending; undo puts it back, tell tells subscribers
// what has changed since.
func (p *pool) snapshot() (undo, tell func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := make(map[address.Address]map[uint64]*api.SignedMessage, len(p.pending))
	for k, m := range p.pending {
		was[k] = maps.Clone(m)
	}
	undo = func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pending = was
	}
	return undo, func() { p.tell(was) }
}

// tell tells subscribers what has left the pool since it was as it was, then what
// has come.
func (p *pool) tell(was map[address.Address]map[uint64]*api.SignedMessage) {
	if !p.changes.heard() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range missing(was, p.pending) {
		p.changes.send(api.MpoolUpdate{Type: api.MpoolRemove, Message: s})
	}
	for _, s := range missing(p.pending, was) {
		p.changes.send(api.MpoolUpdate{Type: api.MpoolAdd, Message: s})
	}
}

// missing lists the messages of a that b has not, by sender and nonce.
func missing(a, b map[address.Address]map[uint64]*api.SignedMessage) []*api.SignedMessage {
	var out []*api.SignedMessage
	for key, ms := range a {
		for nonce, s := range ms {
			if b[key][nonce] != s {
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, bySender)
	return out
}

func bySender(a, b *api.SignedMessage) int {
	return cmp.Or(bytes.Compare(a.Message.From.Bytes(), b.Message.From.Bytes()), cmp.Compare(a.Message.Nonce, b.Message.Nonce))
}

// at is the pending message of a sender with a nonce, nil when there is none.
func (p *pool) at(key address.Address, nonce uint64) *api.SignedMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending[key][nonce]
}

// restore takes back a message of a reverted block, when its signature is known.
func (p *pool) restore(key address.Address, s *api.SignedMessage, recs map[string][]byte) error {
	raw, err := s.Serialize()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending[key][s.Message.Nonce] == nil {
		p.put(key, s)
		recs[recPool+s.Cid().String()] = raw
	}
	return nil
}
