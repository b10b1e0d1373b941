package devnet

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	actorstypes "github.com/filecoin-project/go-state-types/actors"
	"github.com/filecoin-project/go-state-types/manifest"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	"golang.org/x/crypto/blake2b"

	"quarry/api"
	"quarry/chain/genesis"
)

// finality is the lookback after which expected consensus holds a tipset for final,
// in epochs (lotus policy.ChainFinality).
const finality = 900

// ChainGetFinalizedTipSet implements api.ChainTools: without fast finality it is
// the tipset 900 epochs back.
func (n *Node) ChainGetFinalizedTipSet(ctx context.Context) (*api.TipSet, error) {
	return n.ledger.below(ctx, n.ledger.Head(), finality)
}

// actorsOf reads the manifest of the actors of a network version, which is the one
// of this network or none.
func (n *Node) actorsOf(ctx context.Context, nv network.Version) (cid.Cid, *manifest.ManifestData, error) {
	want, err := actorstypes.VersionForNetwork(nv)
	if err != nil {
		return cid.Undef, nil, &api.ErrInvalid{What: "network version", Reason: err.Error()}
	}
	if ours, err := actorstypes.VersionForNetwork(genesis.Version); err != nil || ours != want {
		return cid.Undef, nil, &api.ErrNotFound{
			What: fmt.Sprintf("actors version %d", want),
			Hint: fmt.Sprintf("this network has network version %d from its first block", genesis.Version),
		}
	}
	v, _, err := n.at(ctx, nil)
	if err != nil {
		return cid.Undef, nil, err
	}
	return v.manifest(ctx)
}

// StateActorCodeCIDs implements api.ChainTools.
func (n *Node) StateActorCodeCIDs(ctx context.Context, nv network.Version) (map[string]cid.Cid, error) {
	_, data, err := n.actorsOf(ctx, nv)
	if err != nil {
		return nil, err
	}
	out := map[string]cid.Cid{}
	for _, e := range data.Entries {
		out[e.Name] = e.Code
	}
	return out, nil
}

// StateActorManifestCID implements api.ChainTools.
func (n *Node) StateActorManifestCID(ctx context.Context, nv network.Version) (cid.Cid, error) {
	list, _, err := n.actorsOf(ctx, nv)
	if err != nil {
		return cid.Undef, err
	}
	raw, err := encodeParams(&manifest.Manifest{Version: 1, Data: list})
	if err != nil {
		return cid.Undef, err
	}
	return cborSum(raw)
}

// WalletValidateAddress implements api.ChainTools: it reads an address in its
// textual form.
func (n *Node) WalletValidateAddress(_ context.Context, text string) (address.Address, error) {
	a, err := address.NewFromString(text)
	if err != nil {
		return address.Undef, &api.ErrInvalid{What: "address", Reason: err.Error()}
	}
	if a == address.Undef {
		return address.Undef, &api.ErrInvalid{What: "address", Reason: "it is empty"}
	}
	return a, nil
}

// StateMinerAllocated implements api.ChainTools: every sector number that was ever
// taken.
func (n *Node) StateMinerAllocated(ctx context.Context, a address.Address, tsk api.TipSetKey) (*bitfield.BitField, error) {
	m, err := n.minerAt(ctx, a, tsk)
	if err != nil {
		return nil, err
	}
	var out bitfield.BitField
	if err := m.store.Get(ctx, m.st.AllocatedSectors, &out); err != nil {
		return nil, fmt.Errorf("sector numbers of %s: %w", a, err)
	}
	return &out, nil
}

// F3IsRunning implements api.ChainTools.
func (n *Node) F3IsRunning(context.Context) (bool, error) { return false, &api.ErrF3Disabled{} }

// F3GetLatestCertificate implements api.ChainTools.
func (n *Node) F3GetLatestCertificate(context.Context) (json.RawMessage, error) {
	return nil, &api.ErrF3Disabled{}
}

// F3GetManifest implements api.ChainTools.
func (n *Node) F3GetManifest(context.Context) (json.RawMessage, error) {
	return nil, &api.ErrF3Disabled{}
}

// F3GetProgress implements api.ChainTools.
func (n *Node) F3GetProgress(context.Context) (json.RawMessage, error) {
	return nil, &api.ErrF3Disabled{}
}

// F3GetOrRenewParticipationTicket implements api.ChainTools.
func (n *Node) F3GetOrRenewParticipationTicket(context.Context, address.Address, []byte, uint64) ([]byte, error) {
	return nil, &api.ErrF3Disabled{}
}

// F3Participate implements api.ChainTools.
func (n *Node) F3Participate(context.Context, []byte) (json.RawMessage, error) {
	return nil, &api.ErrF3Disabled{}
}

// ID implements api.ChainTools: the peer id of an ed25519 key that follows from the
// genesis block. Nothing listens under it; it names the network.
func (n *Node) ID(context.Context) (string, error) {
	seed := blake2b.Sum256(append([]byte("devnet peer "), n.params.Genesis.Bytes()...))
	pub, ok := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("peer id: not an ed25519 key")
	}
	// Identity multihash of the key in libp2p's protobuf form.
	text, err := multibase.Encode(multibase.Base58BTC, append([]byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}, pub...))
	if err != nil {
		return "", fmt.Errorf("peer id: %w", err)
	}
	return text[1:], nil
}

// NetPeers implements api.ChainTools: the embedded node has none.
func (n *Node) NetPeers(context.Context) ([]api.PeerInfo, error) { return []api.PeerInfo{}, nil }

// NetBandwidthStats implements api.ChainTools: there is no traffic.
func (n *Node) NetBandwidthStats(context.Context) (api.NetBandwidth, error) {
	return api.NetBandwidth{}, nil
}

// NetAutoNatStatus implements api.ChainTools: nobody has tried to dial it.
func (n *Node) NetAutoNatStatus(context.Context) (api.NetReachability, error) {
	return api.NetReachability{}, nil
}
