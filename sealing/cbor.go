package sealing

import (
	"io"

	"github.com/filecoin-project/go-state-types/abi"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// writeDealID encodes the payload by which the market actor knows the deal: a
// bare unsigned integer (actors market/src/lib.rs, sector_content_changed).
func writeDealID(w io.Writer, id abi.DealID) error {
	return cbg.NewCborWriter(w).WriteMajorTypeHeader(cbg.MajUnsignedInt, uint64(id))
}
