package porep

import (
	"encoding/binary"
	"strconv"
)

// auxPath is the directory recorded in t_aux. Readers replace it by the present
// directory, so a fixed word keeps the file independent of where it was made.
const auxPath = "cache"

// tAux is the bincode form of the reference's TemporaryAux: how each tree and
// layer is stored (storage-proofs-porep/src/stacked/vanilla/params.rs). This
// package does not read it; the reference needs it.
func (par *params) tAux(path string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(par.layers))
	for l := 1; l <= par.layers; l++ {
		b = appendStore(b, path, "layer-"+strconv.Itoa(l), par.nodes, 0)
	}
	b = appendStore(b, path, "tree-d", 2*par.nodes-1, 0)
	b = appendStore(b, path, "tree-r-last", par.shape.BaseNodes(), par.shape.DefaultDiscard())
	return appendStore(b, path, "tree-c", par.shape.BaseNodes(), 0)
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
