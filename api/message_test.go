package api

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
)

func someMessage(t testing.TB, sig crypto.SigType) *SignedMessage {
	t.Helper()
	from, err := address.NewSecp256k1Address([]byte("address0"))
	if err != nil {
		t.Fatal(err)
	}
	to, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	return &SignedMessage{Message: Message{
		To:         to,
		From:       from,
		Nonce:      7,
		Value:      big.NewInt(1),
		GasLimit:   1 << 40,
		GasFeeCap:  big.NewInt(3),
		GasPremium: big.NewInt(2),
		Method:     6,
		Params:     []byte{0x81, 0},
	}, Signature: crypto.Signature{Type: sig, Data: bytes.Repeat([]byte{5}, 65)}}
}

// A message survives CBOR and JSON with its CID, and no cut of it is taken.
func TestMessageForms(t *testing.T) {
	for _, sig := range []crypto.SigType{crypto.SigTypeBLS, crypto.SigTypeSecp256k1} {
		s := someMessage(t, sig)
		raw, err := s.Serialize()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeSignedMessage(raw)
		if err != nil || back.Cid() != s.Cid() {
			t.Errorf("signature type %d: CBOR: %v", sig, err)
		}
		for i := range raw {
			if _, err := DecodeSignedMessage(raw[:i]); err == nil {
				t.Errorf("a message cut at %d of %d bytes was accepted", i, len(raw))
			}
		}
		if _, err := DecodeSignedMessage(append(raw, 0)); err == nil {
			t.Error("trailing bytes were accepted")
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again SignedMessage
		if err := json.Unmarshal(text, &again); err != nil || again.Cid() != s.Cid() {
			t.Errorf("signature type %d: JSON: %v", sig, err)
		}
		if (s.Cid() == s.Message.Cid()) != (sig == crypto.SigTypeBLS) {
			t.Errorf("signature type %d: CID %s, of the message alone %s", sig, s.Cid(), s.Message.Cid())
		}
	}
}

// A replacement makes the same call, whatever it pays for gas.
func TestEqualCall(t *testing.T) {
	m := someMessage(t, crypto.SigTypeBLS).Message
	for name, c := range map[string]struct {
		change func(*Message)
		same   bool
	}{
		"nothing": {func(*Message) {}, true},
		"fees":    {func(m *Message) { m.GasLimit, m.GasFeeCap, m.GasPremium = 1, big.NewInt(9), big.NewInt(9) }, true},
		"nonce":   {func(m *Message) { m.Nonce++ }, false},
		"to":      {func(m *Message) { m.To = m.From }, false},
		"value":   {func(m *Message) { m.Value = big.NewInt(2) }, false},
		"method":  {func(m *Message) { m.Method++ }, false},
		"params":  {func(m *Message) { m.Params = []byte{0x80} }, false},
	} {
		other := m
		c.change(&other)
		if m.EqualCall(&other) != c.same || other.EqualCall(&m) != c.same {
			t.Errorf("%s changed: want the same call %v", name, c.same)
		}
	}
}

// What decodes has a CID, and encodes to what it was.
func FuzzDecodeMessages(f *testing.F) {
	for _, sig := range []crypto.SigType{crypto.SigTypeBLS, crypto.SigTypeSecp256k1} {
		s := someMessage(f, sig)
		for _, serialize := range []func() ([]byte, error){s.Serialize, s.Message.Serialize} {
			raw, err := serialize()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Add([]byte{0x84, 0, 0x40, 0, 0xf6}) // a receipt
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeMessage(b); err == nil {
			out, err := m.Serialize()
			if again, err2 := DecodeMessage(out); err != nil || err2 != nil || again.Cid() != m.Cid() {
				t.Errorf("message: %v, %v", err, err2)
			}
		}
		if s, err := DecodeSignedMessage(b); err == nil {
			out, err := s.Serialize()
			if again, err2 := DecodeSignedMessage(out); err != nil || err2 != nil || again.Cid() != s.Cid() || s.ChainLength() < 1 {
				t.Errorf("signed message: %v, %v", err, err2)
			}
		}
		var bm BlockMsg
		if decodeExact(b, &bm) == nil {
			if _, err := serialize(&bm); err != nil {
				t.Errorf("block message: %v", err)
			}
		}
		var r MessageReceipt
		if decodeExact(b, &r) == nil {
			if _, err := serialize(&r); err != nil {
				t.Errorf("receipt: %v", err)
			}
		}
	})
}
