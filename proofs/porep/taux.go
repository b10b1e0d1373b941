package porep

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"quarry/proofs/merkle"
)

// auxPath is the directory recorded in t_aux. Readers replace it by the present
// directory, so a fixed word keeps the file independent of where it was made.
const auxPath = "cache"

// tAux is the bincode form of the reference's TemporaryAux: how each tree and
// layer is stored (storage-proofs-porep/src/stacked/vanilla/params.rs). The
// reference needs it; here it only says how a sector sealed elsewhere was kept.
func (par *params) tAux(path string) []byte {
	return tAuxInfo{path: path, layers: par.layers, discard: par.shape.DefaultDiscard()}.bytes(par.shape)
}

// tAuxInfo is what differs between the t_aux files of one tree shape.
type tAuxInfo struct {
	path    string // cache directory at sealing
	layers  int
	discard int // rows above the leaves that tree-r-last lacks
}

func (t tAuxInfo) bytes(s merkle.Shape) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(t.layers))
	for l := 1; l <= t.layers; l++ {
		b = appendStore(b, t.path, "layer-"+strconv.Itoa(l), s.Nodes, 0)
	}
	b = appendStore(b, t.path, "tree-d", 2*s.Nodes-1, 0)
	b = appendStore(b, t.path, treeRLast, s.BaseNodes(), t.discard)
	return appendStore(b, t.path, treeC, s.BaseNodes(), 0)
}

func appendStore(b []byte, path, id string, size uint64, discard int) []byte {
	for _, s := range []string{path, id} {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = append(b, 1) // a size is present
	b = binary.LittleEndian.AppendUint64(b, size)
	return binary.LittleEndian.AppendUint64(b, uint64(discard))
}

// errTAux is the cause of every failure to make sense of t_aux.
var errTAux = errors.New("t_aux is damaged")

const (
	maxLayers = 11 // the most that any seal proof has
	maxTAux   = (maxLayers + 3) * (maxPath + 64)
)

// parseTAux reads the t_aux of a sector of shape s. Everything but the path, the
// number of layers and the discarded rows is fixed and must be as it should.
func parseTAux(s merkle.Shape, b []byte) (t tAuxInfo, err error) {
	fail := func(what string) (tAuxInfo, error) { return t, fmt.Errorf("%w: %s", errTAux, what) }
	if len(b) < 16 || len(b) > maxTAux {
		return fail(fmt.Sprintf("%d bytes", len(b)))
	}
	layers, path := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	if layers == 0 || layers > maxLayers || path > maxPath || 16+path > uint64(len(b)) {
		return fail(fmt.Sprintf("%d layers, a path of %d bytes", layers, path))
	}
	t.path, t.layers = string(b[16:16+path]), int(layers)
	for t.discard = range s.BaseRows() {
		if string(t.bytes(s)) == string(b) {
			return t, nil
		}
	}
	return fail("it describes other files than those of such a sector")
}
