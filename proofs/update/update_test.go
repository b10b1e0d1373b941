package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/porep"
	"quarry/proofs/porep/poreptest"
	"quarry/proofs/post"
)

type fileVector struct {
	SHA256 string `json:"sha256"`
	Size   int    `json:"size"`
}

type snapVector struct {
	Challenges [][]uint64            `json:"challenges"`
	CommD      string                `json:"comm_d_new"`
	CommRLast  string                `json:"comm_r_last_new"`
	CommR      string                `json:"comm_r_new"`
	Parts      []fileVector          `json:"partition_proofs"`
	Rho0       string                `json:"rho_0"`
	Rho1       string                `json:"rho_1"`
	Cache      map[string]fileVector `json:"update_cache_after_encode"`
	Updated    string                `json:"updated_sha256"`
}

func loadJSON(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// Files, commitments and proofs equal the reference's.
func TestVectors(t *testing.T) {
	var v struct {
		Sectors []struct {
			Name string      `json:"name"`
			Snap *snapVector `json:"snap"`
		} `json:"sectors"`
	}
	loadJSON(t, "../porep/testdata/sectors.json", &v)
	sizes := map[string]abi.RegisteredUpdateProof{"StackedDrg2KiBV1_1": 0, "StackedDrg8MiBV1_1": 1}
	checked := 0
	for _, s := range v.Sectors {
		p, ok := sizes[s.Name]
		if !ok || s.Snap == nil || p > 0 && testing.Short() {
			continue
		}
		checked++
		t.Run(s.Name, func(t *testing.T) { checkVector(t, update(t, p), s.Snap) })
	}
	if checked == 0 {
		t.Fatal("no vector was checked")
	}
}

// check compares commitments, files and proofs with the reference's.
func (v *snapVector) check(t *testing.T, par *params, com Commitments, sealed []byte, cache *poreptest.Files, blob []byte) {
	t.Helper()
	rhos, err := par.rhos(com.CommDNew, com.CommROld)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		what, want string
		got        [32]byte
	}{
		{"CommD", v.CommD, com.CommDNew}, {"CommRLast", v.CommRLast, com.CommRLastNew}, {"CommR", v.CommR, com.CommRNew},
		{"rho 0", v.Rho0, rhos[0].Bytes()}, {"rho 1", v.Rho1, rhos[1].Bytes()}, {"updated replica", v.Updated, sha256.Sum256(sealed)},
	} {
		if strings.HasPrefix(x.what, "rho") {
			slices.Reverse(x.got[:])
		}
		if hex.EncodeToString(x.got[:]) != x.want {
			t.Errorf("%s is %x, want %s", x.what, x.got, x.want)
		}
	}
	for name, w := range v.Cache {
		f := cache.File(name)
		if f == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if sum := sha256.Sum256(f.Bytes); hex.EncodeToString(sum[:]) != w.SHA256 {
			t.Errorf("%s: SHA-256 %x want %s", name, sum, w.SHA256)
		}
	}
	for k, w := range v.Parts {
		part := blob[8+k*w.Size : 8+(k+1)*w.Size]
		if sum := sha256.Sum256(part); hex.EncodeToString(sum[:]) != w.SHA256 || w.Size != par.partitionSize() {
			t.Errorf("partition %d of %d bytes: SHA-256 %x want %s", k, w.Size, sum, w.SHA256)
		}
		if got, err := par.leaves(com.CommRNew, k); err != nil || !slices.Equal(got, v.Challenges[k]) {
			t.Errorf("partition %d: challenges %v, %v; want %v", k, got, err, v.Challenges[k])
		}
	}
}

func checkVector(t *testing.T, u *updated, v *snapVector) {
	blob := u.prove(t)
	v.check(t, &u.par, u.com, u.sealed.Bytes, u.cache, blob)
	if ok, err := Verify(context.Background(), u.info(), blob); !ok || err != nil {
		t.Errorf("verification: %v, %v", ok, err)
	}
	for _, r := range [][2]uint64{{0, u.par.size()}, {256, 128}, {u.par.size() / 2, 1024}} {
		var out bytes.Buffer
		err := Decode(context.Background(), u.proof, u.decodeTask(&out, abi.PaddedPieceSize(r[0]), abi.PaddedPieceSize(r[1])))
		if err != nil || !bytes.Equal(out.Bytes(), u.data[r[0]:r[0]+r[1]]) {
			t.Errorf("range %v does not come back: %v", r, err)
		}
	}
}

func TestReferenceProof(t *testing.T) {
	var v map[string]string
	loadJSON(t, "../porep/testdata/vanilla-2kib.json", &v)
	want, err := base64.StdEncoding.DecodeString(v["snap_PartitionProof_k0_base64"])
	if err != nil {
		t.Fatal(err)
	}
	blob := update(t, 0).prove(t)
	if !bytes.Equal(blob[8:], want) {
		t.Error("the proof differs from the reference's")
	}
	parts, err := Split(0, blob)
	if err != nil || len(parts) != 1 || !bytes.Equal(parts[0], want) {
		t.Errorf("the proof splits into %d other partitions: %v", len(parts), err)
	}
	_, err1 := Split(0, blob[1:])
	_, err2 := Split(9, blob)
	if err1 == nil || err2 == nil {
		t.Error("a wrong call was accepted")
	}
}

func TestChallengeVectors(t *testing.T) {
	var v map[string]json.RawMessage
	loadJSON(t, "testdata/snap_challenges.json", &v)
	var hexR string
	if err := json.Unmarshal(v["comm_r_new"], &hexR); err != nil {
		t.Fatal(err)
	}
	commR, err := hex.DecodeString(hexR)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for name, raw := range v {
		var log2, k int
		if n, _ := fmt.Sscanf(name, "log2_nodes=%d,k=%d", &log2, &k); n != 2 {
			continue
		}
		var want []uint64
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		par := geometry(log2)
		got, err := par.leaves([32]byte(commR), k)
		if err != nil || !slices.Equal(got[:min(len(got), len(want))], want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, want)
		}
		checked++
	}
	if checked < 20 {
		t.Fatalf("%d sets checked", checked)
	}
}

func TestVerifyRejects(t *testing.T) {
	ctx, u := context.Background(), update(t, 0)
	blob, info := u.prove(t), u.info()
	for name, change := range map[string]func(*proof.ReplicaUpdateInfo){
		"old":       func(i *proof.ReplicaUpdateInfo) { i.OldSealedSectorCID = i.NewSealedSectorCID },
		"new":       func(i *proof.ReplicaUpdateInfo) { i.NewSealedSectorCID = i.OldSealedSectorCID },
		"data":      func(i *proof.ReplicaUpdateInfo) { i.NewUnsealedSectorCID = u.old.Request.UnsealedCID() },
		"kind":      func(i *proof.ReplicaUpdateInfo) { i.NewUnsealedSectorCID = i.NewSealedSectorCID },
		"size":      func(i *proof.ReplicaUpdateInfo) { i.UpdateProofType = 1 },
		"undefined": func(i *proof.ReplicaUpdateInfo) { *i = proof.ReplicaUpdateInfo{} },
	} {
		bad := info
		change(&bad)
		if ok, err := Verify(ctx, bad, blob); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	info.UpdateProofType = 9
	if _, err := Verify(ctx, info, blob); err == nil {
		t.Error("an unknown update proof was decided")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Verify(gone, u.info(), blob); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	u.sealed.Bytes[0] ^= 1
	u.old.Sealed.Bytes[64] ^= 1
	for i := range u.sealed.Bytes {
		u.sealed.Bytes[i] &^= 0xf0
	}
	if _, err := Prove(ctx, u.proof, u.com, u.oldReplica(), u.newReplica()); err == nil {
		t.Error("a damaged replica was proved")
	}
}

// An updated sector is proved over time with its new cache and commitment.
func TestUpdatedSectorPoSt(t *testing.T) {
	ctx, u := context.Background(), update(t, 0)
	sector := post.SectorAccess{Info: u.old.Info(), Sealed: u.sealed, Cache: u.cache}
	sector.Info.SealedCID = u.com.SealedCID()
	rand := abi.PoStRandomness(bytes.Repeat([]byte{7}, 32))
	blob, skipped, err := post.ProveWindow(ctx, 1000, rand, []post.SectorAccess{sector})
	if err != nil || len(skipped) > 0 {
		t.Fatal(skipped, err)
	}
	info := proof.WindowPoStVerifyInfo{Randomness: rand, ChallengedSectors: []proof.SectorInfo{sector.Info}, Prover: 1000}
	if ok, err := post.VerifyWindow(ctx, info, blob); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	info.ChallengedSectors[0].SealedCID = u.old.Request.SealedCID()
	if ok, err := post.VerifyWindow(ctx, info, blob); ok || err != nil {
		t.Errorf("old commitment: %v, %v", ok, err)
	}
	fresh, old := sector.Info, u.old.Info()
	for name, x := range map[string]struct {
		sector post.SectorAccess
		want   error
	}{
		"new files, old commitment":   {post.SectorAccess{Info: old, Sealed: u.sealed, Cache: u.cache}, post.ErrOtherSeal},
		"old files, new commitment":   {post.SectorAccess{Info: fresh, Sealed: u.old.Sealed, Cache: u.old.Cache}, post.ErrOtherSeal},
		"old replica, new cache":      {post.SectorAccess{Info: fresh, Sealed: u.old.Sealed, Cache: u.cache}, post.ErrDamaged},
		"new replica, no cache":       {post.SectorAccess{Info: fresh, Sealed: u.sealed, Cache: poreptest.NewFiles()}, post.ErrMissing},
		"the updated sector":          {post.SectorAccess{Info: fresh, Sealed: u.sealed, Cache: u.cache}, nil},
		"the sector before as it was": {post.SectorAccess{Info: old, Sealed: u.old.Sealed, Cache: u.old.Cache}, nil},
	} {
		_, faults, err := post.FindFaults(ctx, 1000, rand, []post.SectorAccess{x.sector})
		if err != nil || len(faults) > 1 || (len(faults) == 0) != (x.want == nil) || len(faults) == 1 && !errors.Is(faults[0], x.want) {
			t.Errorf("%s: %v, %v; want %v", name, faults, err, x.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	ctx, u := context.Background(), update(t, 0)
	_, err := Encode(ctx, 0, u.encodeTask(nil), nil)
	if !errors.Is(err, porep.ErrPieces) {
		t.Errorf("data that are not the pieces: %v", err)
	}
	for _, r := range [][2]abi.PaddedPieceSize{{1, 128}, {0, 100}, {1920, 256}, {1 << 63, 1 << 63}} {
		if err := Decode(ctx, 0, u.decodeTask(nil, r[0], r[1])); err == nil {
			t.Errorf("range %v accepted", r)
		}
	}
	swapped := u.decodeTask(nil, 0, 128)
	swapped.CommROld, swapped.CommDNew = swapped.CommDNew, swapped.CommROld
	if err := Decode(ctx, 0, swapped); !errors.Is(err, errCID) {
		t.Errorf("swapped CIDs: %v", err)
	}
	if _, err := paramsFor(-1); err == nil {
		t.Error("update proof -1 accepted")
	}
}

func BenchmarkEncode8MiB(b *testing.B) {
	u := update(b, 1)
	b.SetBytes(8 << 20)
	for b.Loop() {
		task := u.encodeTask(nil)
		if _, err := u.par.encode(context.Background(), u.com.CommDNew, &task, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRegenerateKey8MiB(b *testing.B) {
	u := update(b, 1)
	b.SetBytes(8 << 20)
	for b.Loop() {
		key, cache := poreptest.NewFile(8<<20), poreptest.NewFiles()
		task := u.keyTask(key, cache)
		if err := u.par.regenerate(context.Background(), u.com.CommROld, u.com.CommDNew, &task, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	u := update(f, 0)
	blob, info := u.prove(f), u.info()
	f.Add(blob)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		ok, err := Verify(context.Background(), info, b)
		if err != nil || ok != bytes.Equal(b, blob) {
			t.Errorf("%v, %v", ok, err)
		}
	})
}
