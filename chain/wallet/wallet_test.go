package wallet

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"quarry/api"
	"quarry/internal/filcrypto"
)

func open(t *testing.T, ds datastore.Batching) *Wallet {
	t.Helper()
	w, err := New(Deps{Keystore: DatastoreKeystore{DS: ds}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// From filecoin-project/serialization-vectors, message_signing.json.
func TestSigningVector(t *testing.T) {
	w := open(t, dssync.MutexWrap(datastore.NewMapDatastore()))
	priv, err := base64.StdEncoding.DecodeString("pyBOAP9camcZANKedHE+oaqPgtsOd/qBvOAO1YfvLVY=")
	if err != nil {
		t.Fatal(err)
	}
	from, err := w.Import(t.Context(), &api.KeyInfo{Type: api.KeyBLS, PrivateKey: priv})
	if err != nil {
		t.Fatal(err)
	}
	want3, err := address.NewFromString("t3sogjuub37grt2tuvvlxbiamthwxenf2dwgq6sn7gpj72c5omg7gojjplsdsovgq6g3aagwerkght3e7boqfq")
	if err != nil || from != want3 {
		t.Fatalf("%s, want %s, %v", from, want3, err)
	}
	to, err := address.NewFromString("t099999")
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.SignMessage(t.Context(), from, &api.Message{
		To:         to,
		From:       from,
		Nonce:      55,
		Value:      big.NewInt(1),
		GasLimit:   1000000,
		GasFeeCap:  big.NewInt(100),
		GasPremium: big.NewInt(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Cid().String(); c != "bafy2bzacedhl5cowfmp7hq2ke3irf7indry55px44cbbjthazwvpm7ktf676w" {
		t.Errorf("CID %s", c)
	}
	want := "sYHUj6N7Cb86A8pTPyaB82zdeemyHd+tZU4Vdsm6bz2GlaeLC5tsc3SX1Q7Fr5pRA5gXhcx4ID+vDqDVO7ZAnToKaWeZ2Wr28S+b" +
		"4tGWOwqYHx8jkkvklyyNJ5wK4bq+"
	if got := base64.StdEncoding.EncodeToString(s.Signature.Data); got != want {
		t.Errorf("signature %s", got)
	}
}

func TestLifeOfKeys(t *testing.T) {
	ds := dssync.MutexWrap(datastore.NewMapDatastore())
	w := open(t, ds)
	if _, err := w.Default(t.Context()); err == nil {
		t.Fatal("an empty wallet has a default address")
	}
	a, err := w.NewKey(t.Context(), api.KeySecp256k1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.NewKey(t.Context(), api.KeyBLS)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := w.Default(t.Context()); err != nil || d != a {
		t.Fatalf("default %s, %v", d, err)
	}
	w = open(t, ds)
	if l, err := w.List(t.Context()); err != nil || len(l) != 2 {
		t.Fatalf("%v, %v", l, err)
	}
	for _, k := range []address.Address{a, b} {
		sig, err := w.Sign(t.Context(), k, []byte("x"))
		if err != nil || filcrypto.Verify(sig, k, []byte("x")) != nil {
			t.Fatalf("sign as %s: %v", k, err)
		}
	}
	if err := w.SetDefault(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if ok, err := w.Has(t.Context(), b); ok || err != nil {
		t.Fatalf("deleted key: %v, %v", ok, err)
	}
	if _, err := w.Sign(t.Context(), b, nil); !errors.Is(err, ErrKeyNotFound) {
		t.Fatalf("sign with a deleted key: %v", err)
	}
	if _, err := w.Default(t.Context()); err == nil {
		t.Fatal("the default address has no key")
	}
}

func TestRefusals(t *testing.T) {
	w := open(t, dssync.MutexWrap(datastore.NewMapDatastore()))
	for _, k := range []*api.KeyInfo{nil, {}, {Type: "delegated", PrivateKey: make([]byte, 32)},
		{Type: api.KeyBLS, PrivateKey: []byte{1}}} {
		if _, err := w.Import(t.Context(), k); err == nil {
			t.Errorf("key %v was imported", k)
		}
	}
	if _, err := w.NewKey(context.Background(), "rot13"); err == nil {
		t.Error("an unknown key type was made")
	}
	k := api.KeyInfo{Type: api.KeyBLS, PrivateKey: []byte("secret")}
	if s := fmt.Sprint(k); s != "KeyInfo{bls, ...}" {
		t.Errorf("a key prints as %s", s)
	}
}
