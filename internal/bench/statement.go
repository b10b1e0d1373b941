package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	"quarry/proofs/porep"
	"quarry/proofs/post"
	"quarry/proofs/snark"
	"quarry/proofs/update"
)

// Kinds of proof in a Statement.
const (
	KindSeal    = "seal"
	KindWinning = "winning"
	KindWindow  = "window"
	KindUpdate  = "update"
)

// Forms of proof in a Statement.
const (
	FormVanilla = "vanilla"
	FormGroth16 = "groth16"
)

// Statement is a proof together with what it is about, as a JSON file.
type Statement struct {
	Kind string `json:"kind"`
	Form string `json:"form"`
	// Info is the public side in the JSON form that Lotus uses, by kind:
	// SealVerifyInfo, WinningPoStVerifyInfo, WindowPoStVerifyInfo or
	// ReplicaUpdateInfo of go-state-types/proof.
	Info json.RawMessage `json:"info"`
	// Proof is base64 of the proof. Without it the proof inside info is taken.
	Proof []byte `json:"proof,omitempty"`
}

// MaxStatement bounds a statement file, in bytes; the largest proof is the
// non-interactive vanilla one of 32 GiB sectors, some 110 MB.
const MaxStatement = 256 << 20

// ReadStatement reads a statement file. Only its form is checked.
func ReadStatement(r io.Reader) (s Statement, err error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxStatement+1))
	if err != nil {
		return s, fmt.Errorf("reading a statement: %w", err)
	}
	if len(raw) > MaxStatement {
		return s, fmt.Errorf("a statement of more than %s; no proof is that large", Bytes(MaxStatement))
	}
	if err := strictJSON(raw, &s); err != nil {
		return s, fmt.Errorf("the statement: %w", err)
	}
	switch s.Form {
	case FormVanilla, FormGroth16:
	default:
		return s, fmt.Errorf("the statement's form is %q, not %s or %s", s.Form, FormVanilla, FormGroth16)
	}
	if _, err := s.check(nil); err != nil {
		return s, err
	}
	return s, nil
}

func strictJSON(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the JSON value")
	}
	return nil
}

// Check decides whether the proof is right. False means that proof or statement
// is wrong, an error that nothing was decided. keys is needed for Groth16 proofs
// only.
func (s Statement) Check(ctx context.Context, keys snark.Keys) (bool, error) {
	check, err := s.check(keys)
	if err != nil {
		return false, err
	}
	return check(ctx)
}

type checkFunc func(ctx context.Context) (bool, error)

// check parses info and gives the function that decides.
func (s Statement) check(keys snark.Keys) (checkFunc, error) {
	switch s.Kind {
	case KindSeal:
		return s.checkSeal(keys)
	case KindUpdate:
		return s.checkUpdate(keys)
	case KindWinning:
		return s.checkWinning(keys)
	case KindWindow:
		return s.checkWindow(keys)
	default:
		return nil, fmt.Errorf("the statement's kind is %q, not %s, %s, %s or %s", s.Kind, KindSeal, KindWinning, KindWindow, KindUpdate)
	}
}

var errNoProof = errors.New("the statement has a proof neither beside nor in info")

// pick is the proof beside info, else the one in it.
func (s Statement) pick(inside []byte) ([]byte, error) {
	if len(s.Proof) > 0 {
		return s.Proof, nil
	}
	if len(inside) > 0 {
		return inside, nil
	}
	return nil, errNoProof
}

func (s Statement) checkSeal(keys snark.Keys) (checkFunc, error) {
	var info proof.SealVerifyInfo
	if err := strictJSON(s.Info, &info); err != nil {
		return nil, fmt.Errorf("info of a seal proof: %w", err)
	}
	blob, err := s.pick(info.Proof)
	if err != nil {
		return nil, err
	}
	if !info.SealedCID.Defined() || !info.UnsealedCID.Defined() {
		return nil, errors.New("info of a seal proof lacks SealedCID or UnsealedCID")
	}
	if s.Form == FormVanilla {
		return func(ctx context.Context) (bool, error) { return porep.Verify(ctx, info, blob) }, nil
	}
	info.Proof = blob
	return func(ctx context.Context) (bool, error) { return snark.VerifySeal(ctx, keys, info) }, nil
}

func (s Statement) checkUpdate(keys snark.Keys) (checkFunc, error) {
	var info proof.ReplicaUpdateInfo
	if err := strictJSON(s.Info, &info); err != nil {
		return nil, fmt.Errorf("info of an update proof: %w", err)
	}
	blob, err := s.pick(info.Proof)
	if err != nil {
		return nil, err
	}
	if !info.OldSealedSectorCID.Defined() || !info.NewSealedSectorCID.Defined() || !info.NewUnsealedSectorCID.Defined() {
		return nil, errors.New("info of an update proof lacks one of its three CIDs")
	}
	if s.Form == FormVanilla {
		return func(ctx context.Context) (bool, error) { return update.Verify(ctx, info, blob) }, nil
	}
	info.Proof = blob
	return func(ctx context.Context) (bool, error) { return snark.VerifyUpdate(ctx, keys, info) }, nil
}

// postProof checks what both proofs of spacetime have in common.
func (s Statement) postProof(proofs []proof.PoStProof, sectors []proof.SectorInfo) ([]byte, error) {
	if len(proofs) != 1 {
		return nil, fmt.Errorf("info of a proof of spacetime needs one entry in Proofs, which names its type; it has %d", len(proofs))
	}
	for i, x := range sectors {
		if !x.SealedCID.Defined() {
			return nil, fmt.Errorf("challenged sector %d (number %d) lacks its SealedCID", i, x.SectorNumber)
		}
	}
	return s.pick(proofs[0].ProofBytes)
}

func (s Statement) checkWinning(keys snark.Keys) (checkFunc, error) {
	var info proof.WinningPoStVerifyInfo
	if err := strictJSON(s.Info, &info); err != nil {
		return nil, fmt.Errorf("info of a winning proof: %w", err)
	}
	blob, err := s.postProof(info.Proofs, info.ChallengedSectors)
	if err != nil {
		return nil, err
	}
	if s.Form == FormVanilla {
		return func(ctx context.Context) (bool, error) { return post.VerifyWinning(ctx, info, blob) }, nil
	}
	info.Proofs[0].ProofBytes = blob
	return func(ctx context.Context) (bool, error) { return snark.VerifyWinning(ctx, keys, info) }, nil
}

func (s Statement) checkWindow(keys snark.Keys) (checkFunc, error) {
	var info proof.WindowPoStVerifyInfo
	if err := strictJSON(s.Info, &info); err != nil {
		return nil, fmt.Errorf("info of a window proof: %w", err)
	}
	blob, err := s.postProof(info.Proofs, info.ChallengedSectors)
	if err != nil {
		return nil, err
	}
	if s.Form == FormVanilla {
		return func(ctx context.Context) (bool, error) { return post.VerifyWindow(ctx, info, blob) }, nil
	}
	info.Proofs[0].ProofBytes = blob
	return func(ctx context.Context) (bool, error) { return snark.VerifyWindow(ctx, keys, info) }, nil
}

// newStatement puts a statement together; info is one of the four types.
func newStatement(kind, form string, info any, blob []byte) (Statement, error) {
	raw, err := json.Marshal(info)
	return Statement{Kind: kind, Form: form, Info: raw, Proof: blob}, err
}

// writeTo writes s as an indented file.
func (s Statement) writeTo(path string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644) // proofs are public
}

// info is the public side of the seal, where the sector is of a registered kind.
func (s *sealing) info() (proof.SealVerifyInfo, bool) {
	p, miner, ok := registeredOf(s.in.Way)
	return proof.SealVerifyInfo{
		SealProof:             p,
		SectorID:              abi.SectorID{Miner: miner, Number: s.in.Number},
		Randomness:            s.req.Ticket,
		InteractiveRandomness: s.req.Seed,
		SealedCID:             s.req.SealedCID(),
		UnsealedCID:           s.req.UnsealedCID(),
	}, ok
}

// writeStatement leaves a file that Check takes, where a chain could know the
// sector.
func (s *sealing) writeStatement() error {
	info, ok := s.info()
	if !ok {
		return nil
	}
	st, err := newStatement(KindSeal, FormVanilla, info, s.blob)
	if err != nil {
		return err
	}
	return st.writeTo(filepath.Join(s.dir, FileStatement))
}
