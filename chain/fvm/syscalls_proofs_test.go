package fvm

import (
	"bytes"
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

func sumCid(t testing.TB, codec uint64, data string) cid.Cid {
	t.Helper()
	c, err := cid.Prefix{Version: 1, Codec: codec, MhType: 0xb220, MhLength: 32}.Sum([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// replicaUpdate encodes the argument of verify_replica_update, the proof as a
// byte string or as an array of integers.
func replicaUpdate(t testing.TB, asArray bool, proofBytes []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := cbg.NewCborWriter(&b)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(w.WriteMajorTypeHeader(cbg.MajArray, 5))
	check(w.WriteMajorTypeHeader(cbg.MajUnsignedInt, 3))
	for _, data := range []string{"old", "new", "data"} {
		check(cbg.WriteCid(w, sumCid(t, 0x55, data)))
	}
	if !asArray {
		check(w.WriteMajorTypeHeader(cbg.MajByteString, uint64(len(proofBytes))))
		_, err := w.Write(proofBytes)
		check(err)
		return b.Bytes()
	}
	check(w.WriteMajorTypeHeader(cbg.MajArray, uint64(len(proofBytes))))
	for _, v := range proofBytes {
		check(w.WriteMajorTypeHeader(cbg.MajUnsignedInt, uint64(v)))
	}
	return b.Bytes()
}

func TestDecodeReplicaUpdate(t *testing.T) {
	want := []byte{0, 1, 23, 24, 255}
	for _, asArray := range []bool{false, true} {
		raw := replicaUpdate(t, asArray, want)
		got, err := decodeReplicaUpdate(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got.UpdateProofType != 3 || !bytes.Equal(got.Proof, want) || got.OldSealedSectorCID != sumCid(t, 0x55, "old") ||
			got.NewSealedSectorCID != sumCid(t, 0x55, "new") || got.NewUnsealedSectorCID != sumCid(t, 0x55, "data") {
			t.Errorf("as array %v: %+v", asArray, got)
		}
		for n := range len(raw) { // every cut is a fault, also one within the proof
			if got, err := decodeReplicaUpdate(raw[:n]); err == nil {
				t.Errorf("as array %v, cut to %d of %d bytes: %+v", asArray, n, len(raw), got)
			}
		}
	}
	tooBig := replicaUpdate(t, true, []byte{1})
	tooBig = append(tooBig[:len(tooBig)-1], 0x19, 1, 0) // 256 is no byte
	if _, err := decodeReplicaUpdate(tooBig); err == nil {
		t.Error("256 was taken for a byte")
	}
}

// A length that no input could hold must not be allocated.
func TestDecodersBoundLengths(t *testing.T) {
	huge := []byte{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	if _, err := decodeSeals(huge); err == nil {
		t.Error("seals")
	}
	if _, err := decodePieces(huge); err == nil {
		t.Error("pieces")
	}
	if _, err := decodeWindowPoSt(append([]byte{0x84, 0x41, 1}, huge...)); err == nil {
		t.Error("window proofs")
	}
	if _, err := decodeWindowPoSt(append([]byte{0x84, 0x41, 1, 0x80}, huge...)); err == nil {
		t.Error("window sectors")
	}
	raw := replicaUpdate(t, false, nil)
	for _, head := range []byte{0x9b, 0x5b} {
		if _, err := decodeReplicaUpdate(append(raw[:len(raw)-1:len(raw)-1], append([]byte{head}, huge[1:]...)...)); err == nil {
			t.Errorf("update proof with header %#x", head)
		}
	}
}

// windowPoSt is an argument of verify_post over n sectors.
func windowPoSt(t testing.TB, n int) (proof.WindowPoStVerifyInfo, []byte) {
	t.Helper()
	info := proof.WindowPoStVerifyInfo{Randomness: bytes.Repeat([]byte{7}, 32), Prover: 1000,
		Proofs: []proof.PoStProof{{PoStProof: 10, ProofBytes: []byte{1, 2, 3}}}}
	for i := range n {
		info.ChallengedSectors = append(info.ChallengedSectors,
			proof.SectorInfo{SealProof: 5, SectorNumber: abi.SectorNumber(i), SealedCID: sumCid(t, 0x55, "sealed")})
	}
	var b bytes.Buffer
	if n > 8192 { // more than the generated codec writes
		t.Fatal("too many sectors")
	}
	if err := info.MarshalCBOR(&b); err != nil {
		t.Fatal(err)
	}
	return info, b.Bytes()
}

func TestDecodeWindowPoSt(t *testing.T) {
	want, raw := windowPoSt(t, 3)
	got, err := decodeWindowPoSt(raw)
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := got.MarshalCBOR(&again); err != nil || !bytes.Equal(again.Bytes(), raw) || got.Prover != want.Prover {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range len(raw) {
		if _, err := decodeWindowPoSt(raw[:n]); err == nil {
			t.Errorf("cut to %d of %d bytes", n, len(raw))
		}
	}
}

// A verifier that breaks says so; it does not take the node with it.
func TestGuardedVerifier(t *testing.T) {
	ok, err := guard(func() (bool, error) { panic("index out of range") })
	if ok || err == nil {
		t.Errorf("after a panic: %v, %v", ok, err)
	}
	var se *syscallError
	if _, err := answer(t.Context(), false, err); !errors.As(err, &se) || se.no != illegalArgument {
		t.Errorf("the actor sees %v", err)
	}
	if out, err := answer(t.Context(), true, nil); err != nil || !bytes.Equal(out, i32(0)) {
		t.Errorf("valid: %x, %v", out, err)
	}
	if out, err := answer(t.Context(), false, nil); err != nil || !bytes.Equal(out, i32(-1)) {
		t.Errorf("invalid: %x, %v", out, err)
	}
}

func FuzzDecodeProofInputs(f *testing.F) {
	_, raw := windowPoSt(f, 2)
	f.Add(raw)
	f.Add(replicaUpdate(f, true, []byte{1, 2}))
	f.Add(replicaUpdate(f, false, []byte{1, 2}))
	f.Add([]byte{0x81, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := decodeWindowPoSt(b); err == nil && len(got.ChallengedSectors) > len(b) {
			t.Errorf("%d sectors in %d bytes", len(got.ChallengedSectors), len(b))
		}
		if got, err := decodeReplicaUpdate(b); err == nil && len(got.Proof) > len(b) {
			t.Errorf("%d proof bytes in %d", len(got.Proof), len(b))
		}
		if got, err := decodeSeals(b); err == nil && len(got) > len(b) {
			t.Errorf("%d seals in %d bytes", len(got), len(b))
		}
		if got, err := decodePieces(b); err == nil && len(got) > len(b) {
			t.Errorf("%d pieces in %d bytes", len(got), len(b))
		}
	})
}
