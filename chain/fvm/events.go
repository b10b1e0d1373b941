package fvm

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	amt4 "github.com/filecoin-project/go-amt-ipld/v4"
	"github.com/ipfs/go-cid"
	cbor "github.com/ipfs/go-ipld-cbor"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// eventsBitWidth is the AMT width of receipts' event roots (ref-fvm
// call_manager/default.rs).
const eventsBitWidth = 5

// MarshalCBOR writes the stamped event [emitter, [[flags, key, codec, value]]].
func (e *Event) MarshalCBOR(w io.Writer) error {
	cw := cbg.NewCborWriter(w)
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, 2); err != nil {
		return err
	}
	if err := cw.WriteMajorTypeHeader(cbg.MajUnsignedInt, uint64(e.Emitter)); err != nil {
		return err
	}
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, uint64(len(e.Entries))); err != nil {
		return err
	}
	for _, en := range e.Entries {
		if err := en.marshal(cw); err != nil {
			return err
		}
	}
	return nil
}

func (en *EventEntry) marshal(cw *cbg.CborWriter) error {
	if err := cw.WriteMajorTypeHeader(cbg.MajArray, 4); err != nil {
		return err
	}
	if err := cw.WriteMajorTypeHeader(cbg.MajUnsignedInt, en.Flags); err != nil {
		return err
	}
	if err := cw.WriteMajorTypeHeader(cbg.MajTextString, uint64(len(en.Key))); err != nil {
		return err
	}
	if _, err := cw.WriteString(en.Key); err != nil {
		return err
	}
	if err := cw.WriteMajorTypeHeader(cbg.MajUnsignedInt, en.Codec); err != nil {
		return err
	}
	if err := cw.WriteMajorTypeHeader(cbg.MajByteString, uint64(len(en.Value))); err != nil {
		return err
	}
	_, err := cw.Write(en.Value)
	return err
}

func storeEvents(ctx context.Context, s cbor.IpldStore, events []cbg.CBORMarshaler) (*cid.Cid, error) {
	root, err := amt4.FromArray(ctx, s, events, amt4.UseTreeBitWidth(eventsBitWidth))
	if err != nil {
		return nil, fmt.Errorf("store events: %w", err)
	}
	return &root, nil
}

func putBE(b []byte, v uint64) { binary.BigEndian.PutUint64(b, v) }
