package net

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	cbg "github.com/whyrusleeping/cbor-gen"

	"quarry/api"
)

// maxMultiaddrBytes is what the miner actor stores (builtin-actors
// actors/miner/src/policy.rs MAX_MULTIADDR_DATA).
const maxMultiaddrBytes = 1024

// PeerMessages builds the two messages by which clients find the provider:
// ChangePeerID and ChangeMultiaddrs, from the worker, owner or a control
// address. Unspecified addresses (0.0.0.0) are refused, private ones unless
// allowPrivate. Gas and nonce are left to the sender.
func PeerMessages(miner, from address.Address, id string, addrs []string, allowPrivate bool) ([]*api.Message, error) {
	changeAddrs, err := AddrsMessage(miner, from, addrs, allowPrivate)
	if err != nil {
		return nil, err
	}
	changeID, err := PeerIDMessage(miner, from, id)
	if err != nil {
		return nil, err
	}
	return []*api.Message{changeID, changeAddrs}, nil
}

// PeerIDMessage builds the ChangePeerID of [PeerMessages].
func PeerIDMessage(miner, from address.Address, id string) (*api.Message, error) {
	pid, err := peer.Decode(id)
	if err != nil {
		return nil, fmt.Errorf("peer id %q: %w", id, err)
	}
	return minerMessage(miner, from, builtin.MethodsMiner.ChangePeerID, &minertypes.ChangePeerIDParams{NewID: abi.PeerID(pid)})
}

// AddrsMessage builds the ChangeMultiaddrs of [PeerMessages].
func AddrsMessage(miner, from address.Address, addrs []string, allowPrivate bool) (*api.Message, error) {
	list, err := chainAddrs(addrs, allowPrivate)
	if err != nil {
		return nil, err
	}
	return minerMessage(miner, from, builtin.MethodsMiner.ChangeMultiaddrs, &minertypes.ChangeMultiaddrsParams{NewMultiaddrs: list})
}

// CheckAnnounce tells whether PeerMessages would take these addresses.
func CheckAnnounce(addrs []string, allowPrivate bool) error {
	_, err := chainAddrs(addrs, allowPrivate)
	return err
}

func chainAddrs(addrs []string, allowPrivate bool) ([]abi.Multiaddrs, error) {
	parsed, err := parseAddrs(addrs)
	if err != nil {
		return nil, err
	}
	if len(parsed) == 0 {
		return nil, errors.New("no multiaddrs given: clients could not find the provider")
	}
	var out []abi.Multiaddrs
	total := 0
	for _, m := range parsed {
		if port, err := m.ValueForProtocol(ma.P_TCP); err == nil && port == "0" {
			return nil, fmt.Errorf("%s has no port that can be dialed; name the one that the host listens on", m)
		}
		if manet.IsIPUnspecified(m) {
			return nil, fmt.Errorf("%s means every address of this host and cannot be dialed; announce the one that clients reach", m)
		}
		if !allowPrivate && !manet.IsPublicAddr(m) && isIP(m) {
			return nil, fmt.Errorf("%s is not a public address; clients elsewhere could not dial it", m)
		}
		out = append(out, m.Bytes())
		total += len(m.Bytes())
	}
	if total > maxMultiaddrBytes {
		return nil, fmt.Errorf("multiaddrs take %d bytes, the chain stores at most %d", total, maxMultiaddrBytes)
	}
	return out, nil
}

func isIP(m ma.Multiaddr) bool { _, err := manet.ToIP(m); return err == nil }

func minerMessage(miner, from address.Address, method abi.MethodNum, params cbg.CBORMarshaler) (*api.Message, error) {
	var buf bytes.Buffer
	if err := params.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode params of method %d: %w", method, err)
	}
	return &api.Message{
		To:         miner,
		From:       from,
		Method:     method,
		Params:     buf.Bytes(),
		Value:      big.Zero(),
		GasFeeCap:  big.Zero(),
		GasPremium: big.Zero(),
	}, nil
}

// ProviderInfo decodes the peer ID and multiaddrs that a provider has on chain.
func ProviderInfo(info api.MinerInfo, miner string) (peer.AddrInfo, error) {
	if info.PeerId == nil || *info.PeerId == "" {
		return peer.AddrInfo{}, fmt.Errorf("storage provider %s has no peer ID set on-chain", miner)
	}
	pid, err := peer.Decode(*info.PeerId)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("peer ID of storage provider %s: %w", miner, err)
	}
	out := peer.AddrInfo{ID: pid}
	for _, b := range info.Multiaddrs {
		if m, err := ma.NewMultiaddrBytes(b); err == nil {
			out.Addrs = append(out.Addrs, m)
		}
	}
	if len(out.Addrs) == 0 {
		return peer.AddrInfo{}, fmt.Errorf("storage provider %s has no multiaddrs set on-chain", miner)
	}
	return out, nil
}
