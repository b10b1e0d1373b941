package porep

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/proofs/sdr"
)

// The JSON that the reference's SealPreCommitPhase1 gives and its
// SealPreCommitPhase2 takes (filecoin-ffi, lotus PreCommit1Out): with it either
// side can go on with a sector whose labels the other computed. The order of
// fields is the reference's.
type pc1JSON struct {
	Proof  string                `json:"registered_proof"`
	Labels map[string]labelsJSON `json:"labels"`
	Config storeJSON             `json:"config"`
	CommD  [32]byte              `json:"comm_d"`
}

type labelsJSON struct {
	Labels []storeJSON `json:"labels"`
	H      *struct{}   `json:"_h"`
}

// storeJSON says how a file of nodes is kept.
type storeJSON struct {
	Path    string `json:"path"`
	ID      string `json:"id"`
	Size    uint64 `json:"size"`
	Discard int    `json:"rows_to_discard"`
}

func (par *params) pc1JSON(proof abi.RegisteredSealProof, commD [32]byte, path string) pc1JSON {
	var l labelsJSON
	for i := 1; i <= par.layers; i++ {
		l.Labels = append(l.Labels, storeJSON{Path: path, ID: "layer-" + strconv.Itoa(i), Size: par.nodes})
	}
	return pc1JSON{Proof: proofName(proof), CommD: commD,
		Labels: map[string]labelsJSON{vanillaKey(proof): l},
		Config: storeJSON{Path: path, ID: "tree-d", Size: 2*par.nodes - 1}}
}

// PreCommit1JSON is the reference's form of out. path is the cache directory as
// the reference would reach it; nothing is done there.
func PreCommit1JSON(proof abi.RegisteredSealProof, out PreCommit1Out, path string) ([]byte, error) {
	par, err := paramsFor(proof)
	if err != nil {
		return nil, err
	}
	if out.Layers != par.layers {
		return nil, fmt.Errorf("porep: %d layers, seal proof %d has %d", out.Layers, proof, par.layers)
	}
	return plainJSON(par.pc1JSON(proof, out.CommD, path))
}

// plainJSON leaves <, > and & in paths as they are, as the reference does.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// maxPath bounds the paths in files of the reference.
const maxPath = 4096

// ParsePreCommit1JSON takes the reference's form apart. It lacks the ticket and
// the replica id, so the sector and the ticket that it was sealed with must be
// given. Only the reference's own form is taken, white space aside. The paths in
// it are not used: files are where the caller says.
func ParsePreCommit1JSON(s Sector, ticket abi.SealRandomness, raw []byte) (PreCommit1Out, error) {
	par, err := paramsFor(s.Proof)
	if err == nil && s.Custom != nil {
		err = fmt.Errorf("porep: %s is of no registered seal proof; the reference's form is for those", s)
	}
	if err != nil {
		return PreCommit1Out{}, err
	}
	commD, err := par.parsePC1(s.Proof, raw)
	if err == nil && len(ticket) != 32 {
		err = fmt.Errorf("the ticket has %d bytes, not 32", len(ticket))
	}
	if err != nil {
		return PreCommit1Out{}, fmt.Errorf("porep: first phase of %s: %w", s, err)
	}
	id := sdr.ReplicaID(sdr.ProverID(uint64(s.Miner)), uint64(s.Number), [32]byte(ticket), commD, par.porepID)
	return PreCommit1Out{CommD: commD, ReplicaID: id, Ticket: [32]byte(ticket), Layers: par.layers}, nil
}

func (par *params) parsePC1(proof abi.RegisteredSealProof, raw []byte) (commD [32]byte, err error) {
	if limit := jsonLimit((par.layers + 1) * (maxPath + 64)); len(raw) > limit {
		return commD, fmt.Errorf("%w: %d bytes, at most %d are possible", errJSON, len(raw), limit)
	}
	var in pc1JSON
	if err := json.Unmarshal(raw, &in); err != nil {
		return commD, fmt.Errorf("%w: %w", errJSON, err)
	}
	if len(in.Config.Path) > maxPath {
		return commD, fmt.Errorf("%w: a path of %d bytes", errJSON, len(in.Config.Path))
	}
	again, err := plainJSON(par.pc1JSON(proof, in.CommD, in.Config.Path))
	if err != nil {
		return commD, fmt.Errorf("%w: %w", errJSON, err)
	}
	return in.CommD, sameJSON(raw, again)
}
