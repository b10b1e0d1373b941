package filcrypto

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
)

func unb64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Vector of filecoin-project/serialization-vectors, message_signing.json.
func TestBLSVector(t *testing.T) {
	priv := unb64(t, "pyBOAP9camcZANKedHE+oaqPgtsOd/qBvOAO1YfvLVY=")
	want := unb64(t, "sYHUj6N7Cb86A8pTPyaB82zdeemyHd+tZU4Vdsm6bz2GlaeLC5tsc3SX1Q7Fr5pRA5gXhcx4ID+vDqDVO7ZAnToKaWe"+
		"Z2Wr28S+b4tGWOwqYHx8jkkvklyyNJ5wK4bq+")
	c, err := cid.Parse("bafy2bzacedhl5cowfmp7hq2ke3irf7indry55px44cbbjthazwvpm7ktf676w")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := PublicAddress(crypto.SigTypeBLS, priv)
	if err != nil {
		t.Fatal(err)
	}
	wantAddr, err := address.NewFromString("t3sogjuub37grt2tuvvlxbiamthwxenf2dwgq6sn7gpj72c5omg7gojjplsdsovgq6g3aagwerkght3e7boqfq")
	if err != nil {
		t.Fatal(err)
	}
	if addr != wantAddr {
		t.Fatalf("address %s, want %s", addr, wantAddr)
	}
	sig, err := Sign(crypto.SigTypeBLS, priv, c.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sig.Data, want) {
		t.Fatalf("signature %x", sig.Data)
	}
	if err := Verify(sig, addr, c.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := Verify(sig, addr, []byte("other")); !errors.Is(err, ErrInvalidSignature) {
		t.Fatalf("other message: %v", err)
	}
}

func TestSecpVector(t *testing.T) {
	priv := bytes.Repeat([]byte{1}, 32)
	addr, err := PublicAddress(crypto.SigTypeSecp256k1, priv)
	if err != nil {
		t.Fatal(err)
	}
	want, err := address.NewFromString("f1ksu3ktw4xhyaoltwr546b3epfs5wxxqfyyxipwi")
	if err != nil {
		t.Fatal(err)
	}
	if addr != want {
		t.Fatalf("address %s, want %s", addr, want)
	}
	c, err := cid.Parse("bafy2bzacecwwzipcbhqxzlogardtyusx2tkehj7ho7dt5akjfjqmzplmohey6")
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString("d8910daa354e3f614e870de70f56012bd02ebe81db2e77cea5c8c8130848f1b76fdc53ffaa2b7e" +
		"90ab4dad7c09a1318c8122bd724c2d2c760e0fe1a17eaee70901")
	if err != nil {
		t.Fatal(err)
	}
	sig := &crypto.Signature{Type: crypto.SigTypeSecp256k1, Data: data}
	if err := Verify(sig, addr, c.Bytes()); err != nil {
		t.Fatal(err)
	}
	data[3] ^= 1
	if err := Verify(sig, addr, c.Bytes()); !errors.Is(err, ErrInvalidSignature) {
		t.Fatalf("damaged signature: %v", err)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, typ := range []crypto.SigType{crypto.SigTypeBLS, crypto.SigTypeSecp256k1} {
		priv, err := Generate(typ, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		addr, err := PublicAddress(typ, priv)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := Sign(typ, priv, []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(sig, addr, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := Verify(sig, addr, []byte("hellO")); !errors.Is(err, ErrInvalidSignature) {
			t.Fatalf("type %d: %v", typ, err)
		}
	}
	if _, err := Sign(crypto.SigTypeDelegated, make([]byte, 32), nil); !errors.Is(err, ErrUnsupportedType) {
		t.Fatalf("delegated: %v", err)
	}
	if _, err := Sign(crypto.SigTypeBLS, make([]byte, 32), nil); err == nil {
		t.Fatal("zero key accepted")
	}
}

func TestAggregate(t *testing.T) {
	empty, err := AggregateBLS(nil)
	if err != nil {
		t.Fatal(err)
	}
	if empty[0] != 0xc0 || !bytes.Equal(empty[1:], make([]byte, 95)) {
		t.Fatalf("empty aggregate %x", empty)
	}
	if err := VerifyAggregateBLS(nil, nil, empty); err != nil {
		t.Fatal(err)
	}
	var pubs, msgs, sigs [][]byte
	for i := byte(0); i < 3; i++ {
		priv, err := Generate(crypto.SigTypeBLS, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := ToPublic(crypto.SigTypeBLS, priv)
		if err != nil {
			t.Fatal(err)
		}
		msg := []byte{i, 7}
		sig, err := Sign(crypto.SigTypeBLS, priv, msg)
		if err != nil {
			t.Fatal(err)
		}
		pubs, msgs, sigs = append(pubs, pub), append(msgs, msg), append(sigs, sig.Data)
	}
	agg, err := AggregateBLS(sigs)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyAggregateBLS(pubs, msgs, agg); err != nil {
		t.Fatal(err)
	}
	if err := VerifyAggregateBLS(pubs[:2], msgs[:2], agg); !errors.Is(err, ErrInvalidSignature) {
		t.Fatalf("subset: %v", err)
	}
}

// The identity key would accept the identity signature for any message.
func TestIdentityKeyRefused(t *testing.T) {
	pub := append([]byte{0xc0}, make([]byte, 47)...)
	sig := append([]byte{0xc0}, make([]byte, 95)...)
	if err := VerifyAggregateBLS([][]byte{pub}, [][]byte{[]byte("any")}, sig); !errors.Is(err, ErrInvalidSignature) {
		t.Fatalf("got %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte{0xc0}, []byte("m"), byte(2))
	f.Add(make([]byte, 65), []byte("m"), byte(1))
	priv := bytes.Repeat([]byte{1}, 32)
	f.Fuzz(func(t *testing.T, data, msg []byte, typ byte) {
		st := crypto.SigType(typ)
		addr, err := PublicAddress(st, priv)
		if err != nil {
			return
		}
		if Verify(&crypto.Signature{Type: st, Data: data}, addr, msg) == nil {
			// Only a real signature may pass: the same bytes must fail for
			// another message.
			if Verify(&crypto.Signature{Type: st, Data: data}, addr, append(msg, 1)) == nil {
				t.Fatal("one signature passes for two messages")
			}
		}
	})
}
