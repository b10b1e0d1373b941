package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/crypto"

	"quarry/api"
	"quarry/node/repo"
)

// minerKey holds the miner's ID address as a string, in the node's prefix.
var minerKey = datastore.NewKey("miner-address")

// MinerAddress reads for which miner a repo was made.
func MinerAddress(r *repo.Repo) (address.Address, error) {
	b, err := r.Datastore(repo.Node).Get(context.Background(), minerKey)
	if errors.Is(err, datastore.ErrNotFound) {
		return address.Undef, fmt.Errorf("repo %s has no miner yet; finish `miner init` (running it again continues where it stopped)", r.Dir())
	}
	if err != nil {
		return address.Undef, fmt.Errorf("read the miner address of %s: %w", r.Dir(), err)
	}
	return address.NewFromString(string(b))
}

// setMinerAddress is the last durable step of an init.
func setMinerAddress(ctx context.Context, r *repo.Repo, a address.Address) error {
	ds := r.Datastore(repo.Node)
	if err := ds.Put(ctx, minerKey, []byte(a.String())); err != nil {
		return fmt.Errorf("remember the miner address: %w", err)
	}
	return ds.Sync(ctx, minerKey)
}

// keyTypeLibp2p is the keystore type of the host key (lotus
// node/modules/lp2p/libp2p.go).
const keyTypeLibp2p = "libp2p-host"

// Libp2pKey reads the host's identity, or makes one and stores it.
func Libp2pKey(ks *repo.Keystore) (crypto.PrivKey, error) {
	k, err := ks.Get(repo.KeyLibp2p)
	var none *repo.ErrNoKey
	if errors.As(err, &none) {
		return newLibp2pKey(ks)
	}
	if err != nil {
		return nil, err
	}
	priv, err := crypto.UnmarshalPrivateKey(k.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("libp2p identity in the keystore: %w", err)
	}
	return priv, nil
}

func newLibp2pKey(ks *repo.Keystore) (crypto.PrivKey, error) {
	priv, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a libp2p identity: %w", err)
	}
	b, err := crypto.MarshalPrivateKey(priv)
	if err != nil {
		return nil, fmt.Errorf("encode the libp2p identity: %w", err)
	}
	return priv, ks.Put(repo.KeyLibp2p, repo.Key{Type: keyTypeLibp2p, PrivateKey: b})
}

// dataTokenKey holds the token this process shows to whoever serves sector
// files. Any peer may attach a path with a URL of its own, so what is sent
// there must be worth no more than the role of a worker.
var dataTokenKey = datastore.NewKey("data-token")

// dataToken returns that token, making it at the first start and again when it
// was revoked.
func dataToken(ctx context.Context, r *repo.Repo) (string, error) {
	ds := r.Datastore(repo.Node)
	b, err := ds.Get(ctx, dataTokenKey)
	if err == nil {
		if _, err := r.Tokens().Verify(ctx, string(b)); err == nil {
			return string(b), nil
		}
	} else if !errors.Is(err, datastore.ErrNotFound) {
		return "", fmt.Errorf("read the token for sector files: %w", err)
	}
	token, err := r.Tokens().Create(ctx, api.TokenRequest{Name: "this node, for sector files", Role: api.RoleWorker})
	if err != nil {
		return "", fmt.Errorf("make the token for sector files: %w", err)
	}
	if err := ds.Put(ctx, dataTokenKey, []byte(token)); err != nil {
		return "", fmt.Errorf("remember the token for sector files: %w", err)
	}
	return token, ds.Sync(ctx, dataTokenKey)
}
