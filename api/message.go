package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// MaxMessageParams bounds the parameters of a decoded message, in bytes. A
// signed message may not exceed 64 KiB on the wire (lotus chain/messagepool),
// yet blocks of older networks carried larger ones; 2 MiB is what cbor-gen
// accepts for byte strings.
const MaxMessageParams = 2 << 20

// Message is a chain message in its Lotus v1 JSON form and CBOR tuple form
// (array of ten; lotus chain/types/message.go).
type Message struct {
	Version    uint64 // always 0
	To         address.Address
	From       address.Address
	Nonce      uint64
	Value      abi.TokenAmount // attoFIL
	GasLimit   int64           // gas units
	GasFeeCap  abi.TokenAmount // attoFIL per gas unit
	GasPremium abi.TokenAmount // attoFIL per gas unit
	Method     abi.MethodNum
	Params     []byte // CBOR; nil when the method takes none
}

// Cid is the message identifier: CIDv1, dag-cbor, blake2b-256.
func (m *Message) Cid() cid.Cid { return cborCid(m) }

// ChainLength is the length of the CBOR form, in bytes, used for gas.
func (m *Message) ChainLength() int { return cborLen(m) }

// MarshalCBOR writes the ten-field tuple.
func (m *Message) MarshalCBOR(w io.Writer) error {
	cw := cbg.NewCborWriter(w)
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, 10); err != nil {
		return err
	}
	return firstErr(
		cw.WriteMajorTypeHeader(cbg.MajUnsignedInt, m.Version),
		m.To.MarshalCBOR(cw), m.From.MarshalCBOR(cw),
		cw.WriteMajorTypeHeader(cbg.MajUnsignedInt, m.Nonce),
		m.Value.MarshalCBOR(cw),
		writeInt(cw, m.GasLimit),
		m.GasFeeCap.MarshalCBOR(cw), m.GasPremium.MarshalCBOR(cw),
		cw.WriteMajorTypeHeader(cbg.MajUnsignedInt, uint64(m.Method)),
		cbg.WriteByteArray(cw, m.Params),
	)
}

// UnmarshalCBOR reads the tuple; unknown versions and lengths are errors.
func (m *Message) UnmarshalCBOR(r io.Reader) error {
	*m = Message{}
	cr := cbg.NewCborReader(r)
	if err := expectArray(cr, 10, "message"); err != nil {
		return err
	}
	var err error
	if m.Version, err = readUint(cr); err != nil {
		return fmt.Errorf("message version: %w", err)
	}
	if err := firstErr(m.To.UnmarshalCBOR(cr), m.From.UnmarshalCBOR(cr)); err != nil {
		return fmt.Errorf("message addresses: %w", err)
	}
	if m.Nonce, err = readUint(cr); err != nil {
		return fmt.Errorf("message nonce: %w", err)
	}
	if err := m.Value.UnmarshalCBOR(cr); err != nil {
		return fmt.Errorf("message value: %w", err)
	}
	if m.GasLimit, err = readInt(cr); err != nil {
		return fmt.Errorf("message gas limit: %w", err)
	}
	if err := firstErr(m.GasFeeCap.UnmarshalCBOR(cr), m.GasPremium.UnmarshalCBOR(cr)); err != nil {
		return fmt.Errorf("message fees: %w", err)
	}
	method, err := readUint(cr)
	if err != nil {
		return fmt.Errorf("message method: %w", err)
	}
	m.Method = abi.MethodNum(method)
	if m.Params, err = cbg.ReadByteArray(cr, MaxMessageParams); err != nil {
		return fmt.Errorf("message params: %w", err)
	}
	if len(m.Params) == 0 {
		m.Params = nil
	}
	return nil
}

// Serialize returns the CBOR form.
func (m *Message) Serialize() ([]byte, error) { return serialize(m) }

// DecodeMessage parses exactly one CBOR message.
func DecodeMessage(b []byte) (*Message, error) {
	var m Message
	if err := decodeExact(b, &m); err != nil {
		return nil, fmt.Errorf("decode message: %w", err)
	}
	return &m, nil
}

// EqualCall tells whether two messages make the same call, whatever they pay
// for gas: the rule by which a replacement message is recognised.
func (m *Message) EqualCall(o *Message) bool {
	a, b := *m, *o
	for _, p := range []*Message{&a, &b} {
		p.GasLimit, p.GasFeeCap, p.GasPremium = 0, big.Zero(), big.Zero()
	}
	return a.Cid() == b.Cid()
}

type messageJSON Message

// MarshalJSON adds the CID field that Lotus prints beside the others.
func (m *Message) MarshalJSON() ([]byte, error) {
	return json.Marshal(&struct {
		*messageJSON
		CID cid.Cid
	}{(*messageJSON)(m), m.Cid()})
}

// UnmarshalJSON ignores the CID field.
func (m *Message) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, (*messageJSON)(m)) }

// SignedMessage is a message with its signature over the message CID.
type SignedMessage struct {
	Message   Message
	Signature crypto.Signature
}

// Cid is the inner CID for BLS (blocks carry BLS messages unsigned), else
// the CID of the whole.
func (s *SignedMessage) Cid() cid.Cid {
	if s.Signature.Type == crypto.SigTypeBLS {
		return s.Message.Cid()
	}
	return cborCid(s)
}

// ChainLength is the number of bytes charged for: the message for BLS, the
// signed message otherwise.
func (s *SignedMessage) ChainLength() int {
	if s.Signature.Type == crypto.SigTypeBLS {
		return s.Message.ChainLength()
	}
	return cborLen(s)
}

// MarshalCBOR writes array(2)[message, signature].
func (s *SignedMessage) MarshalCBOR(w io.Writer) error {
	cw := cbg.NewCborWriter(w)
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, 2); err != nil {
		return err
	}
	return firstErr(s.Message.MarshalCBOR(cw), s.Signature.MarshalCBOR(cw))
}

// UnmarshalCBOR reads array(2)[message, signature].
func (s *SignedMessage) UnmarshalCBOR(r io.Reader) error {
	*s = SignedMessage{}
	cr := cbg.NewCborReader(r)
	if err := expectArray(cr, 2, "signed message"); err != nil {
		return err
	}
	if err := s.Message.UnmarshalCBOR(cr); err != nil {
		return err
	}
	return s.Signature.UnmarshalCBOR(cr)
}

// Serialize returns the CBOR form.
func (s *SignedMessage) Serialize() ([]byte, error) { return serialize(s) }

// DecodeSignedMessage parses exactly one CBOR signed message.
func DecodeSignedMessage(b []byte) (*SignedMessage, error) {
	var m SignedMessage
	if err := decodeExact(b, &m); err != nil {
		return nil, fmt.Errorf("decode signed message: %w", err)
	}
	return &m, nil
}

type signedMessageJSON SignedMessage

// MarshalJSON adds the CID field that Lotus prints beside the others.
func (s *SignedMessage) MarshalJSON() ([]byte, error) {
	return json.Marshal(&struct {
		Message   *Message
		Signature crypto.Signature
		CID       cid.Cid
	}{&s.Message, s.Signature, s.Cid()})
}

// UnmarshalJSON ignores the CID field.
func (s *SignedMessage) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, (*signedMessageJSON)(s))
}

// --- small CBOR helpers shared by the hand-written chain types ---

func serialize(m cbg.CBORMarshaler) ([]byte, error) {
	var buf bytes.Buffer
	if err := m.MarshalCBOR(&buf); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func decodeExact(b []byte, u cbg.CBORUnmarshaler) error {
	r := bytes.NewReader(b)
	if err := u.UnmarshalCBOR(r); err != nil {
		return err
	}
	if r.Len() != 0 {
		return fmt.Errorf("%d trailing bytes", r.Len())
	}
	return nil
}

// cborCid panics only when a value cannot be encoded, which for these types
// means an undefined address or a nil big integer: a programming error.
func cborCid(m cbg.CBORMarshaler) cid.Cid {
	b, err := serialize(m)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", m, err))
	}
	c, err := abi.CidBuilder.Sum(b)
	if err != nil {
		panic(fmt.Sprintf("hash %T: %v", m, err))
	}
	return c
}

func cborLen(m cbg.CBORMarshaler) int {
	b, err := serialize(m)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", m, err))
	}
	return len(b)
}

func firstErr(errs ...error) error {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

func writeInt(cw *cbg.CborWriter, v int64) error {
	if v >= 0 {
		return cw.WriteMajorTypeHeader(cbg.MajUnsignedInt, uint64(v))
	}
	return cw.WriteMajorTypeHeader(cbg.MajNegativeInt, uint64(-v-1))
}

func readUint(cr *cbg.CborReader) (uint64, error) {
	maj, v, err := cr.ReadHeader()
	if err != nil {
		return 0, err
	}
	if maj != cbg.MajUnsignedInt {
		return 0, errors.New("expected an unsigned integer")
	}
	return v, nil
}

func readInt(cr *cbg.CborReader) (int64, error) {
	maj, v, err := cr.ReadHeader()
	if err != nil {
		return 0, err
	}
	if v > 1<<63-1 {
		return 0, errors.New("integer out of range")
	}
	switch maj {
	case cbg.MajUnsignedInt:
		return int64(v), nil
	case cbg.MajNegativeInt:
		return -1 - int64(v), nil
	}
	return 0, errors.New("expected an integer")
}

func expectArray(cr *cbg.CborReader, n uint64, what string) error {
	maj, v, err := cr.ReadHeader()
	if err != nil {
		return err
	}
	if maj != cbg.MajArray || v != n {
		return fmt.Errorf("%s: expected an array of %d", what, n)
	}
	return nil
}
