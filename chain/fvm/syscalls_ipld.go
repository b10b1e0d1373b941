package fvm

import (
	"context"
	"math"

	"quarry/chain/fvm/gas"
	"quarry/chain/fvm/links"
)

func blockOpen(ctx context.Context, k *kernel, a args) ([]byte, error) {
	c, err := k.readCid(a.u32(0))
	if err != nil {
		return nil, err
	}
	if _, ok := k.reachable[c]; !ok {
		return nil, sysErr(notFound, "block %s is not reachable", c)
	}
	if err := k.cm.gas.Charge(k.cm.prices.BlockOpenBase()); err != nil {
		return nil, err
	}
	data, err := k.cm.m.buf.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	codec := c.Prefix().Codec
	kids, err := k.scan(codec, data)
	if err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(k.cm.prices.Block(len(data), len(kids))); err != nil {
		return nil, err
	}
	h := k.insert(&block{codec: codec, data: data, links: kids})
	return append(append(le64(codec), le32(h)...), le32(uint32(len(data)))...), nil
}

func blockCreate(_ context.Context, k *kernel, a args) ([]byte, error) {
	codec := uint64(a.i64(0))
	if _, ok := k.mem.Read(a.u32(1), a.u32(2)); !ok {
		return nil, sysErr(illegalArgument, "block is out of bounds")
	}
	if a.u32(2) > maxBlock {
		return nil, sysErr(limitExceeded, "block of %d bytes exceeds %d", a.u32(2), maxBlock)
	}
	if codec != links.CBOR && codec != links.DagCBOR && codec != links.Raw {
		return nil, sysErr(illegalCodec, "codec %#x is not allowed", codec)
	}
	data, err := k.read(a.u32(1), a.u32(2))
	if err != nil {
		return nil, err
	}
	kids, err := k.scan(codec, data)
	if err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(k.cm.prices.Block(len(data), len(kids))); err != nil {
		return nil, err
	}
	for _, c := range kids {
		if _, ok := k.reachable[c]; !ok {
			return nil, sysErr(notFound, "block links to %s, which is not reachable", c)
		}
	}
	return le32(k.insert(&block{codec: codec, data: data, links: kids})), nil
}

func blockRead(_ context.Context, k *kernel, a args) ([]byte, error) {
	offset, ptr, n := a.u32(1), a.u32(2), a.u32(3)
	if err := k.window(ptr, n); err != nil {
		return nil, err
	}
	b, err := k.block(a.u32(0))
	if err != nil {
		return nil, err
	}
	end := uint64(offset) + uint64(n)
	if end > math.MaxInt32 {
		return nil, sysErr(illegalArgument, "block range %d+%d is too large", offset, n)
	}
	var part []byte
	if int(offset) < len(b.data) {
		part = b.data[offset:min(int(end), len(b.data))]
	}
	if err := k.cm.gas.Charge(gas.Copy(len(part))); err != nil {
		return nil, err
	}
	k.mem.Write(ptr, part)
	return i32(int32(int64(len(b.data)) - int64(end))), nil
}

func blockStat(_ context.Context, k *kernel, a args) ([]byte, error) {
	b, err := k.block(a.u32(0))
	if err != nil {
		return nil, err
	}
	return append(le64(b.codec), le32(uint32(len(b.data)))...), nil
}

func blockLink(ctx context.Context, k *kernel, a args) ([]byte, error) {
	if err := k.window(a.u32(3), a.u32(4)); err != nil {
		return nil, err
	}
	if a[1] != links.Blake2b256 || a.u32(2) != 32 {
		return nil, sysErr(illegalCid, "hash %#x of %d bytes is not allowed", a[1], a.u32(2))
	}
	b, err := k.block(a.u32(0))
	if err != nil {
		return nil, err
	}
	if err := k.cm.gas.Charge(k.cm.prices.BlockLink(len(b.data))); err != nil {
		return nil, err
	}
	c, err := k.cm.m.buf.PutRaw(b.codec, b.data)
	if err != nil {
		return nil, err
	}
	k.reach(c)
	return k.write(a.u32(3), a.u32(4), c.Bytes())
}

// --- actors ---
